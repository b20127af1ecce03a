package imagecache

import (
	"context"
	"errors"
	"time"

	"github.com/sluice-cd/sluice/libs/registry"
)

// LookUp finds what a tag points at and what that is: in the cache as far as it is known there, then in the registry. What was asked for is
// kept also where the rest cannot be had now, as under a budget that is used up: who comes back asks for the rest alone.
// registry.ErrNotFound says that there is no such image; that is kept, too.
func (c *Cache) LookUp(ctx context.Context, s Scope, from *registry.Repository, tag string) (*registry.Metadata, error) {
	digests, err := c.Digests(ctx, s, []string{tag})
	if err != nil {
		return nil, err
	}
	if digest := digests[tag].Digest; digest != "" {
		m, err := c.complete(ctx, from, registry.Unread(digest))
		if !errors.Is(err, registry.ErrNotFound) {
			return m, err
		}
		if err := c.dropDigest(ctx, s, tag); err != nil { // the tag may point elsewhere by now
			return nil, err
		}
	}
	m, err := from.Tagged(ctx, tag)
	if err == nil {
		if err := c.PutDigest(ctx, s, tag, Digest{Digest: m.Digest, At: time.Now()}); err != nil {
			return nil, err
		}
		m, err = c.complete(ctx, from, m)
	}
	if errors.Is(err, registry.ErrNotFound) {
		return nil, errors.Join(err, c.PutDigest(ctx, s, tag, Digest{At: time.Now()}))
	}
	return m, err
}

// complete reads the rest of metadata, from where the one who came furthest got to.
func (c *Cache) complete(ctx context.Context, from *registry.Repository, m *registry.Metadata) (*registry.Metadata, error) {
	host := from.Host()
	known, err := c.Metadata(ctx, host, m.Digest)
	if err != nil || known != nil {
		return known, err
	}
	if m.IsUnread() {
		if m, err = c.begun(ctx, host, m); err != nil {
			return nil, err
		}
	}
	if err := from.Complete(ctx, m); err != nil {
		return nil, errors.Join(err, c.put(ctx, "begun", c.begunKey(host, m.Digest), m, begunLife))
	}
	return m, c.PutMetadata(ctx, host, m)
}

// begunLife is how long metadata is kept that was not read to its end.
const begunLife = 24 * time.Hour

// begun returns metadata that was not read to its end; what it is given where there is none.
func (c *Cache) begun(ctx context.Context, host string, unread *registry.Metadata) (*registry.Metadata, error) {
	m := &registry.Metadata{}
	found, err := c.get(ctx, "begun", c.begunKey(host, unread.Digest), m)
	if err != nil || !found {
		return unread, err
	}
	return m, nil
}

func (c *Cache) begunKey(host, digest string) string { return c.codec.key("begun", host, digest) }

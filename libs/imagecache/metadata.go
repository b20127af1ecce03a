package imagecache

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/sluice-cd/sluice/libs/registry"
)

// Metadata returns what is known of a digest in a registry; nil when nothing is.
func (c *Cache) Metadata(ctx context.Context, host, digest string) (*registry.Metadata, error) {
	m := &registry.Metadata{}
	found, err := c.get(ctx, "meta", c.codec.key("meta", host, digest), m)
	if err != nil || !found {
		return nil, err
	}
	return m, nil
}

// PutMetadata keeps what is known of a digest, for ever.
func (c *Cache) PutMetadata(ctx context.Context, host string, m *registry.Metadata) error {
	return c.put(ctx, "meta", c.codec.key("meta", host, m.Digest), m, 0)
}

// MetadataOf returns what is known of digests in a registry, as far as it is known, by digest.
func (c *Cache) MetadataOf(ctx context.Context, host string, digests []string) (map[string]*registry.Metadata, error) {
	found := map[string]*registry.Metadata{}
	if len(digests) == 0 {
		return found, nil
	}
	pipe := c.redis.Pipeline()
	answers := make([]*redis.StringCmd, len(digests))
	for i, digest := range digests {
		answers[i] = pipe.Get(ctx, c.codec.key("meta", host, digest))
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, unavailable("read metadata", err)
	}
	for i, digest := range digests {
		data, err := answers[i].Bytes()
		m := &registry.Metadata{}
		if err == nil && c.open("meta", c.codec.key("meta", host, digest), data, m) {
			found[digest] = m
		}
	}
	return found, nil
}

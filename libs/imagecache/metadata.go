package imagecache

import (
	"context"

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

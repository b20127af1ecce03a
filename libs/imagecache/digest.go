package imagecache

import (
	"context"
	"time"
)

// Digest is what a tag pointed at.
type Digest struct {
	Digest string    `json:"d"` // of the manifest or index, "sha256:…"
	At     time.Time `json:"t"` // when the registry said so
}

// digestsLife is how long the digests of an image are kept after the last one was written.
const digestsLife = 30 * 24 * time.Hour

// Digests returns the digests of tags, as far as they are known, by tag.
func (c *Cache) Digests(ctx context.Context, s Scope, tags []string) (map[string]Digest, error) {
	found := map[string]Digest{}
	if len(tags) == 0 {
		return found, nil
	}
	key := c.digestsKey(s)
	fields := make([]string, len(tags))
	for i, tag := range tags {
		fields[i] = c.codec.id("tag", tag)
	}
	values, err := c.redis.HMGet(ctx, key, fields...).Result()
	if err != nil {
		return nil, unavailable("read digests", err)
	}
	for i, v := range values {
		var d Digest
		if text, ok := v.(string); ok && c.open("digests", key+"/"+fields[i], []byte(text), &d) {
			found[tags[i]] = d
		}
	}
	return found, nil
}

// PutDigest keeps what a tag points at.
func (c *Cache) PutDigest(ctx context.Context, s Scope, tag string, d Digest) error {
	key, field := c.digestsKey(s), c.codec.id("tag", tag)
	data, err := c.codec.seal(key+"/"+field, d)
	if err != nil {
		return err
	}
	pipe := c.redis.Pipeline()
	pipe.HSet(ctx, key, field, data)
	pipe.Expire(ctx, key, digestsLife)
	_, err = pipe.Exec(ctx)
	return unavailable("store digest", err)
}

func (c *Cache) dropDigest(ctx context.Context, s Scope, tag string) error {
	return unavailable("drop digest", c.redis.HDel(ctx, c.digestsKey(s), c.codec.id("tag", tag)).Err())
}

func (c *Cache) digestsKey(s Scope) string { return c.codec.key("digests", s.Image, s.Credential) }

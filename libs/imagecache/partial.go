package imagecache

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// Partial is a listing that is not read to its end yet.
type Partial struct {
	Names     []string  `json:"names"`
	Next      string    `json:"next"` // where the registry said to go on
	StartedAt time.Time `json:"startedAt"`
	Pages     int       `json:"pages"`
}

// partialLife bounds how long a listing may take from its first page to its last.
const partialLife = time.Hour

// partial returns where to go on with a listing; nil to begin anew.
func (c *Cache) partial(s Scope, command *redis.StringCmd) (*Partial, error) {
	p := &Partial{}
	found, err := c.answer(command, "part", c.partialKey(s), p)
	if err != nil || !found || time.Since(p.StartedAt) > partialLife {
		return nil, err
	}
	return p, nil
}

// PutPartial keeps where to go on with a listing.
func (c *Cache) PutPartial(ctx context.Context, s Scope, p *Partial) error {
	return c.put(ctx, "part", c.partialKey(s), p, partialLife)
}

// DropPartial forgets a listing that was begun.
func (c *Cache) DropPartial(ctx context.Context, s Scope) error {
	return unavailable("drop part", c.redis.Del(ctx, c.partialKey(s)).Err())
}

func (c *Cache) partialKey(s Scope) string { return c.codec.key("part", s.Image, s.Credential) }

package imagecache

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// pushedLife is how long it is known that somebody spoke of a push: as long as a listing lasts that may be older.
const pushedLife = listingLife

// NotePush notes that somebody said that an image, by its canonical name, was pushed just now: what was read of it before is to be read
// again when next it is asked for.
func (c *Cache) NotePush(ctx context.Context, image string) error {
	return c.put(ctx, "push", c.pushedKey(image), time.Now().UTC(), pushedLife)
}

// PushedAt returns when somebody last spoke of a push of an image; zero when nobody did for long.
func (c *Cache) PushedAt(ctx context.Context, image string) (time.Time, error) {
	return c.pushed(image, c.redis.Get(ctx, c.pushedKey(image)))
}

func (c *Cache) pushed(image string, command *redis.StringCmd) (time.Time, error) {
	var at time.Time
	_, err := c.answer(command, "push", c.pushedKey(image), &at)
	return at, err
}

func (c *Cache) pushedKey(image string) string { return c.codec.key("push", image, "") }

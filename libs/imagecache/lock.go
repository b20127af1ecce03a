package imagecache

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/redis/go-redis/v9"
)

// lockLife is how long the scan of a dead replica holds up others.
const lockLife = time.Minute

const (
	extendScript  = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0`
	releaseScript = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`
)

// Lock keeps others from scanning the same image under the same credential at the same time. It saves requests and is no fence:
// who loses it may still write a listing as good as the other's.
type Lock struct {
	redis      redis.UniversalClient
	key, token string
}

// TryLock takes the lock of a scope; nil when somebody has it.
func (c *Cache) TryLock(ctx context.Context, s Scope) (*Lock, error) {
	l := &Lock{redis: c.redis, key: c.codec.key("lock", s.Image, s.Credential), token: rand.Text()}
	got, err := c.redis.SetNX(ctx, l.key, l.token, lockLife).Result()
	if err != nil {
		return nil, unavailable("lock scan", err)
	}
	if !got {
		return nil, nil
	}
	return l, nil
}

// Extend keeps the lock for another while.
func (l *Lock) Extend(ctx context.Context) error {
	return unavailable("extend lock of scan", l.redis.Eval(ctx, extendScript, []string{l.key}, l.token, lockLife.Milliseconds()).Err())
}

// Release lets others scan, also when ctx is over. What cannot be released expires.
func (l *Lock) Release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	_ = l.redis.Eval(ctx, releaseScript, []string{l.key}, l.token).Err()
}

package imagecache

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// lockLife is how long the scan of a dead replica holds up others.
const lockLife = 10 * time.Second

const (
	extendScript  = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0`
	releaseScript = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`
)

// Lock keeps others from scanning the same image under the same credential at the same time. It saves requests and is no fence:
// who loses it may still write a listing as good as the other's.
type Lock struct {
	// Listing and Partial are what there was when the lock was taken; nil for none.
	Listing *Listing
	Partial *Partial
	// PushedAt is when somebody last spoke of a push; zero when nobody did for long.
	PushedAt time.Time

	cache      *Cache
	scope      Scope
	key, token string
	stop       context.CancelFunc // ends the renewals; nil once the lock is released
}

// Begin takes the lock of a scope, and with it reads what a scan goes on from; nil when somebody has the lock. It is kept until Finish,
// Release or the end of ctx.
func (c *Cache) Begin(ctx context.Context, s Scope) (*Lock, error) {
	l := &Lock{cache: c, scope: s, key: c.codec.key("lock", s.Image, s.Credential), token: rand.Text()}
	pipe := c.redis.Pipeline()
	got := pipe.SetNX(ctx, l.key, l.token, lockLife)
	listing, partial, pushed := pipe.Get(ctx, c.listingKey(s)), pipe.Get(ctx, c.partialKey(s)), pipe.Get(ctx, c.pushedKey(s.Image))
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, unavailable("begin scan", err)
	}
	if !got.Val() {
		return nil, nil
	}
	l.keep(ctx)
	if err := l.read(listing, partial, pushed); err != nil {
		l.Release(ctx)
		return nil, err
	}
	return l, nil
}

func (l *Lock) read(listing, partial, pushed *redis.StringCmd) error {
	var errs [3]error
	l.Listing, errs[0] = l.cache.listing(l.scope, listing)
	l.Partial, errs[1] = l.cache.partial(l.scope, partial)
	l.PushedAt, errs[2] = l.cache.pushed(l.scope.Image, pushed)
	return errors.Join(errs[:]...)
}

// Finish stores the listing that the scan made, forgets what was read of it before, and releases the lock.
func (l *Lock) Finish(ctx context.Context, made *Listing) error {
	key := l.cache.listingKey(l.scope)
	data, err := l.cache.codec.seal(key, made.wire())
	if err != nil {
		return fmt.Errorf("store tags: %w", err)
	}
	pipe := l.cache.redis.Pipeline()
	pipe.Set(ctx, key, data, listingLife)
	pipe.Del(ctx, l.cache.partialKey(l.scope))
	pipe.Eval(ctx, releaseScript, []string{l.key}, l.token)
	if _, err := pipe.Exec(ctx); err != nil {
		return unavailable("store tags", err)
	}
	l.end()
	return nil
}

func (l *Lock) end() {
	l.stop()
	l.stop = nil
}

// keep renews the lock. One that cannot be renewed expires; its scan goes on all the same.
func (l *Lock) keep(ctx context.Context) {
	ctx, l.stop = context.WithCancel(ctx)
	go func() {
		tick := time.NewTicker(lockLife / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_ = l.cache.redis.Eval(ctx, extendScript, []string{l.key}, l.token, lockLife.Milliseconds()).Err()
			}
		}
	}()
}

// Release lets others scan, also when ctx is over; after Finish it does nothing. What cannot be released expires.
func (l *Lock) Release(ctx context.Context) {
	if l.stop == nil {
		return
	}
	l.end()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	_ = l.cache.redis.Eval(ctx, releaseScript, []string{l.key}, l.token).Err()
}

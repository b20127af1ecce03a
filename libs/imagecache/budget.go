package imagecache

import (
	"context"
	_ "embed"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed budget.lua
var budgetScript string

//go:embed block.lua
var blockScript string

// Rate is how many requests a registry host gets from all replicas together.
type Rate struct {
	PerSecond float64 // 0 for any number
	Burst     int     // at once, after a pause
}

// Budget shares the rate of each registry host among all who use the same Redis, as a token bucket on the clock of Redis.
type Budget struct {
	cache       *Cache
	rate        Rate
	take, block *redis.Script
}

// shortWait is waited out rather than told.
const shortWait = 500 * time.Millisecond

// NewBudget makes the budgets of all hosts. The rate must be the same wherever the cache is shared.
func (c *Cache) NewBudget(r Rate) *Budget {
	return &Budget{cache: c, rate: r, take: redis.NewScript(budgetScript), block: redis.NewScript(blockScript)}
}

// Take takes one request of a class from a host's budget. It waits a moment for it where that is enough; otherwise it returns how
// long to stay away, and nothing was taken. Those who are sent away are given different times.
func (b *Budget) Take(ctx context.Context, host, class string) (time.Duration, error) {
	interval, burst := 0.0, 1
	if b.rate.PerSecond > 0 {
		interval, burst = 1e6/b.rate.PerSecond, max(1, b.rate.Burst)
	}
	answer, err := b.take.Run(ctx, b.cache.redis, []string{b.key(host)}, interval, burst, shortWait.Microseconds(), class).Int64Slice()
	if err != nil {
		return 0, unavailable("take from budget", err)
	}
	if len(answer) != 2 {
		return 0, fmt.Errorf("take from budget: answer of %d numbers", len(answer))
	}
	wait := time.Duration(answer[1]) * time.Microsecond
	if answer[0] == 0 {
		b.cache.deferred.WithLabelValues(b.cache.hosts.label(host)).Inc()
		return max(wait, time.Millisecond), nil
	}
	return 0, pause(ctx, wait)
}

// Block keeps requests of a class away from a host, those of every class where it is empty, for a time that the registry told; for
// one that grows each time where it told none (zero).
func (b *Budget) Block(ctx context.Context, host, class string, d time.Duration) error {
	until, err := b.block.Run(ctx, b.cache.redis, []string{b.key(host)}, class, d.Microseconds()).Int64()
	if err != nil {
		return unavailable("block host", err)
	}
	if class == "" {
		class = "all"
	}
	b.cache.blocked.WithLabelValues(b.cache.hosts.label(host), class).Set(float64(until) / 1e6)
	b.cache.log.Warn("registry wants fewer requests", "host", host, "class", class, "until", time.UnixMicro(until).UTC())
	return nil
}

func (b *Budget) key(host string) string { return b.cache.codec.key("rate", host) }

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// maxHostLabels bounds the hosts that metrics name.
const maxHostLabels = 50

// hostLabels are the hosts that metrics name: the first ones; the rest are "other".
type hostLabels struct {
	mu    sync.Mutex
	known map[string]bool
}

func (h *hostLabels) label(host string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.known[host] && len(h.known) >= maxHostLabels {
		return "other"
	}
	h.known[host] = true
	return host
}

// HostLabel is how metrics name a registry host.
func (c *Cache) HostLabel(host string) string { return c.hosts.label(host) }

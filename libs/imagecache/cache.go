package imagecache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/sluice-cd/sluice/libs/metric"
)

// ErrUnavailable says that Redis does not answer: what is in it is unknown, not absent.
var ErrUnavailable = errors.New("image cache unavailable")

// Cache is what is known of images. It is for concurrent use.
type Cache struct {
	redis    redis.UniversalClient
	codec    *codec
	log      *slog.Logger
	rejected *prometheus.CounterVec
	deferred *prometheus.CounterVec
	blocked  *prometheus.GaugeVec
	hosts    *hostLabels
}

// Connect makes a Cache. It does not talk to Redis yet, which may be away and come later.
func Connect(o Options, log *slog.Logger, registry prometheus.Registerer) (*Cache, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	key, err := os.ReadFile(o.CacheKeyFile)
	if err != nil {
		return nil, fmt.Errorf("read cache key: %w", err)
	}
	client, err := o.client()
	if err != nil {
		return nil, err
	}
	c, err := newCache(client, key, log, registry)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.CacheKeyFile, err)
	}
	return c, nil
}

func newCache(client redis.UniversalClient, key []byte, log *slog.Logger, registry prometheus.Registerer) (*Cache, error) {
	codec, err := newCodec(key)
	if err != nil {
		return nil, err
	}
	c := &Cache{redis: client, codec: codec, log: log, hosts: &hostLabels{known: map[string]bool{}}}
	if c.rejected, err = metric.Shared(registry, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_imagecache_rejected_total", Help: "Values in Redis that were not written with our key, or are damaged, by kind.",
	}, []string{"kind"})); err != nil {
		return nil, err
	}
	if c.deferred, err = metric.Shared(registry, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_registry_deferred_total", Help: "Requests to registries that had to come back later, by host.",
	}, []string{"host"})); err != nil {
		return nil, err
	}
	c.blocked, err = metric.Shared(registry, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "sluice_registry_blocked_until_timestamp_seconds", Help: "Until when a registry asked for no more requests, by host and class of requests; class all for any.",
	}, []string{"host", "class"}))
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Close ends all connections.
func (c *Cache) Close() { _ = c.redis.Close() }

// Ping says whether Redis answers.
func (c *Cache) Ping(ctx context.Context) error {
	return unavailable("ping", c.redis.Ping(ctx).Err())
}

func unavailable(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w: %w", doing, ErrUnavailable, err)
}

// get reads a value into v and says whether there is one that is ours.
func (c *Cache) get(ctx context.Context, kind, key string, v any) (bool, error) {
	return c.answer(c.redis.Get(ctx, key), kind, key, v)
}

// answer is get of a command that was sent already.
func (c *Cache) answer(command *redis.StringCmd, kind, key string, v any) (bool, error) {
	data, err := command.Bytes()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	if err != nil {
		return false, unavailable("read "+kind, err)
	}
	return c.open(kind, key, data, v), nil
}

// open decodes a value and reports one that is not ours.
func (c *Cache) open(kind, key string, data []byte, v any) bool {
	err := c.codec.open(key, data, v)
	if err == nil {
		return true
	}
	c.rejected.WithLabelValues(kind).Inc()
	c.log.Warn("value in the image cache is not used", "kind", kind, "key", key, "err", err)
	return false
}

func (c *Cache) put(ctx context.Context, kind, key string, v any, ttl time.Duration) error {
	data, err := c.codec.seal(key, v)
	if err != nil {
		return fmt.Errorf("store %s: %w", kind, err)
	}
	return unavailable("store "+kind, c.redis.Set(ctx, key, data, ttl).Err())
}

package bus

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// fetchMost is how many messages one request of a listing is for.
	fetchMost = 500
	// fetchTime is how long such a request waits for messages that vanish before they are sent.
	fetchTime = time.Second
)

// each calls take for every message of a stream whose subject matches a filter, oldest first. What is stored meanwhile may be among them, a
// subject's newer message after its older one; what is removed meanwhile may be missing.
func (c *Conn) each(ctx context.Context, stream, filter string, headersOnly bool, take func(jetstream.Msg) error) error {
	err := c.eachFrom(ctx, stream, jetstream.ConsumerConfig{FilterSubject: filter, HeadersOnly: headersOnly}, math.MaxInt, take)
	if err != nil {
		return fmt.Errorf("list %s: %w", filter, err)
	}
	return nil
}

// eachFrom is each for at most so many messages, from where and of what the configuration says.
func (c *Conn) eachFrom(ctx context.Context, stream string, from jetstream.ConsumerConfig, most int, take func(jetstream.Msg) error) error {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	from.AckPolicy, from.MemoryStorage, from.Replicas, from.InactiveThreshold = jetstream.AckNonePolicy, true, 1, listTime
	cons, err := c.JS.CreateConsumer(ctx, stream, from)
	if err != nil {
		return err
	}
	defer c.endListing(ctx, stream, cons)
	taken := 0
	counted := func(m jetstream.Msg) error { taken++; return take(m) }
	for left := cons.CachedInfo().NumPending; left > 0 && taken < most; {
		if left, err = fetch(ctx, cons, min(left, uint64(most-taken)), counted); err != nil {
			return err
		}
	}
	return nil
}

// endListing removes the consumer of a listing; without that it ends by itself a minute later.
func (c *Conn) endListing(ctx context.Context, stream string, cons jetstream.Consumer) {
	ctx, cancel := oneRequest(context.WithoutCancel(ctx))
	defer cancel()
	_ = c.JS.DeleteConsumer(ctx, stream, cons.CachedInfo().Name)
}

// fetch takes some of the messages that are left, and returns how many are left then.
func fetch(ctx context.Context, cons jetstream.Consumer, left uint64, take func(jetstream.Msg) error) (uint64, error) {
	want := int(min(left, fetchMost))
	batch, err := cons.Fetch(want, jetstream.FetchMaxWait(fetchTime))
	if err != nil {
		return 0, err
	}
	for msg := range batch.Messages() {
		meta, err := msg.Metadata()
		if err == nil {
			err = take(msg)
		}
		if err != nil {
			return 0, err
		}
		if want--; meta.NumPending == 0 || want == 0 {
			return meta.NumPending, nil
		}
	}
	if err := batch.Error(); err != nil {
		return 0, err
	}
	info, err := cons.Info(ctx) // fewer came than there were
	if err != nil {
		return 0, err
	}
	return info.NumPending, nil
}

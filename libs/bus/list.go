package bus

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// each calls take for every message of a stream whose subject matches a filter, oldest first. What is stored meanwhile may be among them, a
// subject's newer message after its older one; what is removed meanwhile may be missing.
func (c *Conn) each(ctx context.Context, stream, filter string, headersOnly bool, take func(jetstream.Msg, *jetstream.MsgMetadata) error) error {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	s, err := c.openStream(ctx, stream)
	if err != nil {
		return err
	}
	if err := readFrom(ctx, s, jetstream.ConsumerConfig{FilterSubject: filter, HeadersOnly: headersOnly}, math.MaxInt, take); err != nil {
		return fmt.Errorf("list %s: %w", filter, err)
	}
	return nil
}

// readBatch is how many messages are asked for at once.
const readBatch = 1000

// readFrom calls f for at most so many messages, from where and as the configuration says.
func readFrom(ctx context.Context, stream jetstream.Stream, from jetstream.ConsumerConfig, most int, f func(jetstream.Msg, *jetstream.MsgMetadata) error) error {
	from.AckPolicy, from.MemoryStorage, from.Replicas, from.InactiveThreshold = jetstream.AckNonePolicy, true, 1, time.Minute
	cons, err := stream.CreateConsumer(ctx, from)
	if err != nil {
		return fmt.Errorf("make a consumer: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTime)
		defer cancel()
		_ = stream.DeleteConsumer(ctx, cons.CachedInfo().Name) // it expires by itself otherwise
	}()
	for left := cons.CachedInfo().NumPending; left > 0 && most > 0 && ctx.Err() == nil; {
		got := 0
		// Without waiting: what was counted may be deleted meanwhile.
		batch, err := cons.FetchNoWait(int(min(left, readBatch, uint64(most))))
		if err != nil {
			return err
		}
		for msg := range batch.Messages() {
			meta, err := msg.Metadata()
			if err == nil {
				err = f(msg, meta)
			}
			if err != nil {
				return err
			}
			got, left = got+1, meta.NumPending
		}
		if err := batch.Error(); err != nil {
			return err
		}
		if most -= got; got == 0 {
			info, err := cons.Info(ctx)
			if err != nil {
				return err
			}
			left = info.NumPending
		}
	}
	return ctx.Err()
}

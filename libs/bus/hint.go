package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	hintsv1 "github.com/sluice-cd/sluice/proto/hints/v1"
)

// HintSubject is where hints are published, several to a message.
const HintSubject = "hint.received"

// MaxHintBytes is the size of a batch of hints that fits into one message, with room for what the server adds.
const MaxHintBytes = 512 << 10

// PublishHints stores a batch of hints durably. The time that it may take is that of ctx: whoever waits for the answer waits outside.
func (c *Conn) PublishHints(ctx context.Context, batch *hintsv1.Batch) error {
	data, err := proto.Marshal(batch)
	if err != nil {
		return fmt.Errorf("publish hints: %w", err)
	}
	if _, err := c.publish(ctx, message(HintSubject, data, nil), jetstream.WithRetryAttempts(0)); err != nil {
		return fmt.Errorf("publish hints: %w", err)
	}
	return nil
}

// ParseHints reads a batch of hints from a message of stream HINTS.
func ParseHints(data []byte) (*hintsv1.Batch, error) {
	b := &hintsv1.Batch{}
	if err := proto.Unmarshal(data, b); err != nil {
		return nil, fmt.Errorf("parse hints: %w", err)
	}
	return b, nil
}

// HintConsumer declares the durable consumer through which all replicas of a stage share the hints. It begins with those that are there:
// a call may come before the service that it concerns runs for the first time.
func (c *Conn) HintConsumer(ctx context.Context, stage string, ackWait time.Duration) (jetstream.Consumer, error) {
	return c.consumer(ctx, StreamHints, jetstream.ConsumerConfig{
		Durable:       stage,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       ackWait,
		MaxAckPending: 10_000,
		MaxDeliver:    -1,
	})
}

// FollowHints calls f with each batch of hints that is or will be in the stream and was stored at since or later, in order, with the time at
// which it was stored, until ctx ends or the bus goes away; and caughtUp whenever there are no more for the moment. It keeps no place in the
// stream.
func (c *Conn) FollowHints(ctx context.Context, since time.Time, caughtUp func(), f func(at time.Time, batch *hintsv1.Batch)) error {
	cons, err := c.JS.OrderedConsumer(ctx, StreamHints, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &since,
	})
	if err != nil {
		c.Heal()
		return fmt.Errorf("follow hints: %w", err)
	}
	if info, err := cons.Info(ctx); err == nil && info.NumPending == 0 {
		caughtUp()
	}
	messages, err := cons.Messages()
	if err != nil {
		return fmt.Errorf("follow hints: %w", err)
	}
	defer messages.Stop()
	defer context.AfterFunc(ctx, messages.Stop)()
	for {
		msg, err := messages.Next()
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("follow hints: %w", err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("follow hints: %w", err)
		}
		if batch, err := ParseHints(msg.Data()); err == nil { // what cannot be read its consumers report
			f(meta.Timestamp, batch)
		}
		if meta.NumPending == 0 {
			caughtUp()
		}
	}
}

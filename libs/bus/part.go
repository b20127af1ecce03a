package bus

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"k8s.io/apimachinery/pkg/types"
)

// PartKey is the key in the state bucket of a part of what a stage remembers about an object: what would make its record large, in documents
// of their own. name may be any text.
func PartKey(stage string, key types.NamespacedName, name string) string {
	return partPrefix(stage, key) + escape(name)
}

func partPrefix(stage string, key types.NamespacedName) string {
	return objectSubject("part", stage, key) + "."
}

// Part is a part of what a stage remembers about an object.
type Part struct {
	Name     string
	Value    []byte
	Revision uint64
	Written  time.Time
}

// ListParts reads all parts of an object, by name.
func (c *Conn) ListParts(ctx context.Context, stage string, key types.NamespacedName) (map[string]Part, error) {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	stream, err := c.openStream(ctx, streamState)
	if err != nil {
		return nil, err
	}
	prefix := StateSubject(partPrefix(stage, key))
	out := map[string]Part{}
	err = readAll(ctx, stream, prefix+"*", false, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
		name, err := unescape(strings.TrimPrefix(m.Subject(), prefix))
		if err != nil {
			return err
		}
		if m.Headers().Get("KV-Operation") == "" && m.Headers().Get("Nats-Marker-Reason") == "" {
			out[name] = Part{name, m.Data(), meta.Sequence.Stream, meta.Timestamp}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list parts of %s %s: %w", stage, key, err)
	}
	return out, nil
}

// readAll calls f for each message of a stream on subjects of a filter, in order, as they are now.
func readAll(ctx context.Context, stream jetstream.Stream, filter string, headersOnly bool, f func(jetstream.Msg, *jetstream.MsgMetadata) error) error {
	return readFrom(ctx, stream, jetstream.ConsumerConfig{FilterSubject: filter, HeadersOnly: headersOnly}, math.MaxInt, f)
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

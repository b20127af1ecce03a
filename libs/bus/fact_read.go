package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
)

// FactsPlace is a place in the stream of facts: behind the fact of that sequence, in the stream that was created then.
type FactsPlace struct {
	Sequence uint64    `json:"sequence"`
	Created  time.Time `json:"created"`
}

// StoredFact is a fact and its sequence, which grows from fact to fact.
type StoredFact struct {
	*factsv1.Fact // nil for one that cannot be read
	Sequence      uint64
}

// FactsAfter reads at most so many facts behind a place, of all kinds, in the order in which they were stored. Where the stream is another
// than that of the place, it begins with those that are younger than since.
func (c *Conn) FactsAfter(ctx context.Context, at FactsPlace, since time.Time, most int) ([]StoredFact, FactsPlace, error) {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	stream, err := c.openStream(ctx, StreamFacts)
	if err != nil {
		return nil, at, err
	}
	info, err := stream.Info(ctx)
	if err != nil {
		c.Heal()
		return nil, at, fmt.Errorf("look at stream of facts: %w", err)
	}
	from := jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: at.Sequence + 1}
	if !at.Created.Equal(info.Created) {
		at = FactsPlace{Created: info.Created}
		from = jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &since}
	} else if info.State.LastSeq <= at.Sequence {
		return nil, at, nil
	}
	var out []StoredFact
	err = c.eachFrom(ctx, StreamFacts, from, most, func(m jetstream.Msg) error {
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		at.Sequence = meta.Sequence.Stream
		f, err := ParseFact(m)
		if err != nil {
			c.log.Error("fact that cannot be read", "err", err)
			f = nil
		}
		out = append(out, StoredFact{f, meta.Sequence.Stream})
		return nil
	})
	if err != nil {
		return nil, at, fmt.Errorf("read facts: %w", err)
	}
	if len(out) == 0 && at.Sequence == 0 {
		at.Sequence = info.State.LastSeq // none is young enough
	}
	return out, at, nil
}

// LastFact is the sequence of the last fact that was stored.
func (c *Conn) LastFact(ctx context.Context) (uint64, error) {
	ctx, cancel := oneRequest(ctx)
	defer cancel()
	stream, err := c.openStream(ctx, StreamFacts)
	if err != nil {
		return 0, err
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("look at stream of facts: %w", err)
	}
	return info.State.LastSeq, nil
}

package stage

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
)

const factAckWait = 10 * time.Second

// declareFacts makes the consumer of facts exist. It comes before any full pass: a fact told after an object was looked at must not fall
// between the two.
func (s *Stage) declareFacts(ctx context.Context) {
	for len(s.opts.Facts) > 0 && ctx.Err() == nil {
		_, err := s.rt.Bus.FactConsumer(ctx, s.Name, s.opts.Facts, factAckWait)
		if err == nil {
			return
		}
		s.log.Warn("cannot follow facts yet, trying on", "err", err)
		sleep(ctx, 500*time.Millisecond)
	}
}

// followFacts turns facts into triggers of this stage until ctx ends. A fact is acknowledged when its triggers are stored.
func (s *Stage) followFacts(ctx context.Context) {
	for ctx.Err() == nil {
		if err := s.consumeFacts(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("cannot follow facts, trying on", "err", err)
			s.rt.Bus.Heal()
			sleep(ctx, 500*time.Millisecond)
		}
	}
}

// consumeFacts returns nil when ctx ends, or the bus is back after it was away: what was asked of the server before, it has forgotten.
func (s *Stage) consumeFacts(ctx context.Context) error {
	s.mu.Lock()
	pulls := s.pulls
	s.mu.Unlock()
	cons, err := s.rt.Bus.FactConsumer(ctx, s.Name, s.opts.Facts, factAckWait)
	if err != nil {
		return err
	}
	messages, err := cons.Messages(jetstream.PullMaxMessages(64), jetstream.PullExpiry(10*time.Second), jetstream.PullHeartbeat(2*time.Second))
	if err != nil {
		return err
	}
	// What came already is used, or given back when this replica ends: by itself the server brings it again only after factAckWait.
	stop := context.AfterFunc(ctx, messages.Drain)
	defer stop()
	renew := context.AfterFunc(pulls, messages.Drain)
	defer renew()
	defer messages.Stop()
	for {
		msg, err := messages.Next()
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			_ = msg.Nak()
			continue
		}
		s.takeFact(ctx, msg)
	}
}

func (s *Stage) takeFact(ctx context.Context, msg jetstream.Msg) {
	fact, err := bus.ParseFact(msg)
	if err != nil {
		s.log.Error("fact that cannot be read", "err", err)
		_ = msg.Term()
		return
	}
	if object := bus.FactObject(fact); object.Namespace == "" || object.Name == "" {
		s.log.Error("fact that names no object", "subject", msg.Subject())
		_ = msg.Term()
		return
	}
	ctx = trigger{header: msg.Headers()}.traceParent(ctx)
	keys, err := s.mapFact(ctx, fact)
	if errors.Is(err, errPanicked) {
		s.log.Error("fact that cannot be used", "subject", msg.Subject(), "err", err)
		_ = msg.Term()
		return
	}
	if err == nil && len(keys) > 0 {
		err = s.TriggerAll(ctx, keys, Hint{Cause: "fact"})
	}
	if err != nil && ctx.Err() != nil {
		_ = msg.Nak()
		return
	}
	if err != nil {
		s.log.Warn("fact not turned into work yet", "subject", msg.Subject(), "err", err)
		_ = msg.NakWithDelay(time.Second)
		return
	}
	_ = msg.Ack()
}

var errPanicked = errors.New("panic")

// mapFact survives whatever a fact holds: it would come again to each replica.
func (s *Stage) mapFact(ctx context.Context, fact *factsv1.Fact) (keys []types.NamespacedName, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v\n%s", errPanicked, p, debug.Stack())
		}
	}()
	return s.opts.Map(ctx, fact)
}

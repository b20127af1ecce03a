package stage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
	hintsv1 "github.com/sluice-cd/sluice/proto/hints/v1"
)

const (
	// hintAckWait is after how long hints that somebody took come to another replica.
	hintAckWait = 30 * time.Second
	// hintMessages is how many messages are taken at once: the more arrive, the more triggers for the same object become one.
	hintMessages = 256
	hintPull     = 10 * time.Second
	// hintRest is for how many times as long as the last ones took, hintRestMost for how long at most, the next ones are left to gather: a
	// flood of calls costs a share of the bus's writes, whatever its size, and one call alone waits for nobody.
	hintRest     = 3
	hintRestMost = 500 * time.Millisecond
)

// FollowHints hands the hints of calls from outside to use until ctx ends, several at once, shared with all replicas that follow under the
// same name. When use fails they come again a little later; what it panics over is put aside.
func FollowHints(ctx context.Context, b *bus.Conn, log *slog.Logger, name string, use func(context.Context, []*hintsv1.Hint) error) {
	f := &hintFollower{bus: b, log: log, name: name, use: use}
	b.Subscribe(func(bool) { f.endPull() }) // what was asked of the server before, it has forgotten
	for ctx.Err() == nil {
		if err := f.follow(ctx); err != nil && ctx.Err() == nil {
			log.Warn("cannot follow hints, trying on", "err", err)
			b.Heal()
			sleep(ctx, 500*time.Millisecond)
		}
	}
}

type hintFollower struct {
	bus  *bus.Conn
	log  *slog.Logger
	name string
	use  func(context.Context, []*hintsv1.Hint) error

	mu   sync.Mutex
	pull context.CancelFunc // ends the pull under way
}

func (f *hintFollower) endPull() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pull != nil {
		f.pull()
	}
}

func (f *hintFollower) beginPull(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, hintPull)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pull = cancel
	return ctx, cancel
}

// follow returns with an error when the bus goes away or forgets the consumer.
func (f *hintFollower) follow(ctx context.Context) error {
	cons, err := f.bus.HintConsumer(ctx, f.name, hintAckWait)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		taken, err := f.take(ctx, cons)
		if err != nil {
			return err
		}
		if len(taken) > 0 {
			began := time.Now()
			f.answer(taken, f.hand(ctx, f.read(taken)))
			sleep(ctx, min(hintRest*time.Since(began), hintRestMost))
		}
	}
	return nil
}

// take waits for a message, and takes with it those that have arrived besides.
func (f *hintFollower) take(ctx context.Context, cons jetstream.Consumer) ([]jetstream.Msg, error) {
	ctx, cancel := f.beginPull(ctx)
	defer cancel()
	first, err := cons.Next(jetstream.FetchContext(ctx))
	if isIdle(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	taken := []jetstream.Msg{first}
	more, err := cons.FetchNoWait(hintMessages - 1)
	if err != nil {
		return taken, nil
	}
	for m := range more.Messages() {
		taken = append(taken, m)
	}
	return taken, nil
}

// read returns the hints of messages, oldest first.
func (f *hintFollower) read(taken []jetstream.Msg) []*hintsv1.Hint {
	var hints []*hintsv1.Hint
	for _, m := range taken {
		batch, err := bus.ParseHints(m.Data())
		if err != nil {
			f.log.Error("hints that cannot be read", "err", err)
			continue
		}
		hints = append(hints, batch.GetHints()...)
	}
	return hints
}

func (f *hintFollower) answer(taken []jetstream.Msg, err error) {
	panicked := errors.Is(err, errPanicked)
	if err != nil {
		f.log.Warn("hints not turned into work", "messages", len(taken), "again", !panicked, "err", err)
	}
	for _, m := range taken {
		if err == nil || panicked {
			_ = m.Ack()
		} else {
			_ = m.NakWithDelay(time.Second)
		}
	}
}

// hand hands hints to use. Where one of several makes it panic, the others are handed on alone.
func (f *hintFollower) hand(ctx context.Context, hints []*hintsv1.Hint) error {
	err := f.safely(ctx, hints)
	if !errors.Is(err, errPanicked) || len(hints) == 1 {
		return err
	}
	var errs []error
	for _, h := range hints {
		if err := f.safely(ctx, []*hintsv1.Hint{h}); errors.Is(err, errPanicked) {
			f.log.Error("hint that cannot be used", "err", err)
		} else {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// safely survives whatever a hint holds: it would come again to each replica.
func (f *hintFollower) safely(ctx context.Context, hints []*hintsv1.Hint) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v\n%s", errPanicked, p, debug.Stack())
		}
	}()
	return f.use(ctx, hints)
}

// takeHints triggers each object that any of the hints is about, once.
func (s *Stage) takeHints(ctx context.Context, hints []*hintsv1.Hint) error {
	var batch []wakeUp
	seen := map[types.NamespacedName]bool{}
	for _, h := range hints {
		keys, err := s.opts.Hints(ctx, h)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if !seen[key] {
				seen[key] = true
				batch = append(batch, wakeUp{key, Hint{Cause: "webhook"}.header(hintTrace(ctx, h))})
			}
		}
	}
	for _, failed := range publishAll(ctx, s.rt.Bus, s.Name, batch) {
		return fmt.Errorf("trigger %s %s: %w", s.Name, failed.key, failed.err)
	}
	return nil
}

// hintTrace is a context in which the trace of a hint's call goes on.
func hintTrace(ctx context.Context, h *hintsv1.Hint) context.Context {
	return trigger{header: nats.Header{"traceparent": {h.GetTraceparent()}}}.traceParent(ctx)
}

// Named returns the objects of one kind that a hint names.
func Named(h *hintsv1.Hint, kind string) []types.NamespacedName {
	var keys []types.NamespacedName
	for _, o := range h.GetObjects() {
		if o.GetKind() == kind && o.GetNamespace() != "" && o.GetName() != "" {
			keys = append(keys, types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()})
		}
	}
	return keys
}

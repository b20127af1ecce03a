package stage

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/propagation"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
)

// Hint says why an object is woken. A hint may be lost with its trigger when a later one replaces it, so
// nothing may depend on it but speed and reports.
type Hint struct {
	Cause string // one word for logs: created, changed, requested, deleted, fact, webhook, resync, more
	// Generation of the spec that the sender saw: the run shall not act on an older one. Zero when unknown.
	Generation int64
}

const (
	headerCause      = "Sluice-Cause"
	headerGeneration = "Sluice-Generation"
)

var traceContext = propagation.TraceContext{}

func (h Hint) header(ctx context.Context) map[string]string {
	header := map[string]string{headerCause: h.Cause}
	if h.Generation > 0 {
		header[headerGeneration] = strconv.FormatInt(h.Generation, 10)
	}
	traceContext.Inject(ctx, propagation.MapCarrier(header))
	return header
}

// trigger is one message of stream WORK as the worker sees it.
type trigger struct {
	seq    uint64
	at     time.Time
	hint   Hint
	header nats.Header
	// handedOn says that the worker found it after a run, and its own delivery is still to come.
	handedOn bool
}

func newTrigger(seq uint64, at time.Time, header nats.Header) trigger {
	generation, _ := strconv.ParseInt(header.Get(headerGeneration), 10, 64)
	cause := header.Get(headerCause)
	if cause == "" {
		cause = "schedule"
	}
	return trigger{seq: seq, at: at, header: header, hint: Hint{Cause: cause, Generation: generation}}
}

func (t trigger) traceParent(ctx context.Context) context.Context {
	carrier := propagation.MapCarrier{}
	for _, k := range traceContext.Fields() {
		carrier[k] = t.header.Get(k)
	}
	return traceContext.Extract(ctx, carrier)
}

// outbox holds triggers until the bus has them: an informer tells of a change only once.
type outbox struct {
	bus   *bus.Conn
	stage string

	mu      sync.Mutex
	pending map[types.NamespacedName]map[string]string
	// woken are the objects of triggers since the start; nil when that is over.
	woken map[types.NamespacedName]struct{}
	wake  chan struct{}
}

func newOutbox(b *bus.Conn, stage string) *outbox {
	return &outbox{
		bus: b, stage: stage, pending: map[types.NamespacedName]map[string]string{}, woken: map[types.NamespacedName]struct{}{}, wake: make(chan struct{}, 1),
	}
}

func (o *outbox) add(key types.NamespacedName, header map[string]string) {
	o.mu.Lock()
	o.pending[key] = header
	if o.woken != nil {
		o.woken[key] = struct{}{}
	}
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// notWoken leaves out the objects that were added since the start: they come to run anyway.
func (o *outbox) notWoken(keys []types.NamespacedName) []types.NamespacedName {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(keys), func(key types.NamespacedName) bool {
		_, woken := o.woken[key]
		return woken
	})
}

// endStart forgets what was added since the start.
func (o *outbox) endStart() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.woken = nil
}

// run publishes what is added until ctx ends, again and again where the bus does not take it.
func (o *outbox) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.wake:
		}
		for left := o.flush(ctx); left > 0 && ctx.Err() == nil; left = o.flush(ctx) {
			o.bus.Heal()
			sleep(ctx, 200*time.Millisecond)
		}
	}
}

// flush publishes all pending triggers at once and returns how many the bus did not take.
func (o *outbox) flush(ctx context.Context) int {
	o.mu.Lock()
	batch := make([]wakeUp, 0, len(o.pending))
	for key, header := range o.pending {
		batch = append(batch, wakeUp{key, header})
	}
	o.pending = map[types.NamespacedName]map[string]string{}
	o.mu.Unlock()
	failed := publishAll(ctx, o.bus, o.stage, batch)
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, f := range failed {
		if _, newer := o.pending[f.key]; !newer {
			o.pending[f.key] = f.header
		}
	}
	return len(failed)
}

// wakeUp is a trigger to be published.
type wakeUp struct {
	key    types.NamespacedName
	header map[string]string
}

// failedWakeUp is a trigger that the bus did not store.
type failedWakeUp struct {
	wakeUp
	err error
}

// publishAll publishes triggers in order and waits for the bus to have stored them. It returns those that were not stored.
func publishAll(ctx context.Context, b *bus.Conn, stage string, batch []wakeUp) []failedWakeUp {
	var failed []failedWakeUp
	futures := make([]jetstream.PubAckFuture, len(batch))
	for i, w := range batch {
		var err error
		if futures[i], err = b.Trigger(stage, w.key, w.header); err != nil {
			failed = append(failed, failedWakeUp{w, err})
		}
	}
	timeout, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for i, future := range futures {
		if future == nil {
			continue
		}
		select {
		case <-future.Ok():
		case err := <-future.Err():
			failed = append(failed, failedWakeUp{batch[i], err})
		case <-timeout.Done():
			failed = append(failed, failedWakeUp{batch[i], timeout.Err()})
		}
	}
	return failed
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

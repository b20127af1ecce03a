package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync/atomic"

	"go.opentelemetry.io/otel/propagation"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
)

// Run is one run of one object: what the handler gets to know and may do under the lock.
type Run struct {
	Key  types.NamespacedName
	Hint Hint // why it was woken, as far as known
	// Failures is the number of failed runs in a row before this one.
	Failures int
	Log      *slog.Logger

	bus    *bus.Conn
	stage  string
	lock   *lock
	record *record
	// before is the record as the run found it; wrote and parts say that it wrote the record, and a part, which several may do at once.
	before record
	wrote  bool
	parts  atomic.Bool
}

// gotForward says whether the run kept anything that was not kept before.
func (r *Run) gotForward() bool {
	return r.parts.Load() || !bytes.Equal(r.before.State, r.record.State)
}

// isAsBefore says whether the record has nothing that matters beside what is stored already. When a run is armed the server knows, but a record
// that says so where none is has each run disarm it again.
func (r *Run) isAsBefore() bool {
	was, is := &r.before, r.record
	return !r.wrote && was.Failures == is.Failures && was.Crashes == is.Crashes && bytes.Equal(was.State, is.State) && (was.Next.IsZero() || !is.Next.IsZero())
}

// Guard says whether the object is still surely in these hands. Call it before each outside effect and stop on an error.
func (r *Run) Guard() error { return r.lock.guard() }

// Load reads into v what the handler last saved about the object, and says whether there is anything.
func (r *Run) Load(v any) (bool, error) {
	found, err := r.record.state(v)
	if err != nil {
		return false, fmt.Errorf("load state of %s %s: %w", r.stage, r.Key, err)
	}
	return found, nil
}

// Save keeps v about the object, at once and only if the lock is still held. Other stages may read it (ReadState), so a fact
// that tells of it is published afterwards. v must hold no secrets.
func (r *Run) Save(ctx context.Context, v any) error {
	if err := r.Keep(v); err != nil {
		return err
	}
	return r.write(ctx)
}

// Keep is Save at the run's end, together with what the stage records anyway; it is lost when the run does not get there.
func (r *Run) Keep(v any) error {
	state, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("save state of %s %s: %w", r.stage, r.Key, err)
	}
	r.record.State = state
	return nil
}

func (r *Run) write(ctx context.Context) error {
	data, err := r.record.marshal()
	if err != nil {
		return err
	}
	if err := r.lock.put(ctx, bus.RecordKey(r.stage, r.Key), data); err != nil {
		return fmt.Errorf("record run of %s %s: %w", r.stage, r.Key, err)
	}
	r.wrote = true
	return nil
}

// Tell publishes a fact with the run's trace.
func (r *Run) Tell(ctx context.Context, f *factsv1.Fact) error {
	header := map[string]string{}
	traceContext.Inject(ctx, propagation.MapCarrier(header))
	if tp := header["traceparent"]; tp != "" {
		f.Trace = &factsv1.TraceContext{Traceparent: tp, Tracestate: header["tracestate"]}
	}
	return r.bus.PublishFact(ctx, f, header)
}

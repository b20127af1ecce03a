package stage

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
	hintsv1 "github.com/sluice-cd/sluice/proto/hints/v1"
)

// Handler brings one object forward.
type Handler interface {
	// Run reads the present state of the object named by run.Key and acts on it. It must end soon after ctx does, must not
	// wait for anything that may take long (return Result.Next or After instead, or let a fact wake the object), and calls
	// run.Guard before each outside effect. It may be called twice for the same trigger.
	Run(ctx context.Context, run *Run) (Result, error)
}

// Reporter is a Handler that also tells people when a run could not even fail by itself: it panicked, or it ended with its
// process several times in a row.
type Reporter interface {
	Report(ctx context.Context, run *Run, err error)
}

// Result is what a run without error asks for.
type Result struct {
	// Next is the time until the next run when nothing else wakes the object; the stage adds jitter, and leaves a run that is armed already after
	// half of that time or more. Zero: none.
	Next time.Duration
	// Exact leaves both out.
	Exact bool
	// Idle says that there was nothing to do: the run does not count for the object's pace, and is not recorded where it kept nothing new.
	Idle bool
	// More says that the run did a part of what is to do, and that the object shall run again at once, after the others that wait. Next is not
	// looked at: what was armed stays armed, and the last part says when the next run is. A part that got forward hardly counts for the object's
	// pace, one that did not counts as any run does. To get forward is to keep another state than before (Save, Keep) or a part (SavePart):
	// where what was done is kept elsewhere, a count of it in the state says so.
	More bool
	// Gone says that the object does not exist any more: all that the stage remembers of it is dropped.
	Gone bool
}

// Options of a stage. Zero fields take the defaults named.
type Options struct {
	Slots    int           // runs at once in this process; default 16
	LockTTL  time.Duration // how long a dead worker keeps an object, whole seconds; default 6s
	RunLimit time.Duration // longest run; default 15min
	Backoff  Backoff
	Pace     Pace
	Jitter   float64 // share of Result.Next by which it varies; default 0.1, negative for none

	// Objects lists every object that the stage is responsible for, for a full pass.
	Objects func(ctx context.Context) ([]types.NamespacedName, error)
	// Facts are the kinds of facts that wake objects of this stage, and Map says which. It reads the sender's word for it only
	// as a hint.
	Facts []string
	Map   func(ctx context.Context, f *factsv1.Fact) ([]types.NamespacedName, error)
	// Hints says which objects of this stage a hint from outside is about; nil for a stage that takes none. It reads the hint's word only as
	// one. An error brings the hint again later.
	Hints func(ctx context.Context, h *hintsv1.Hint) ([]types.NamespacedName, error)
}

func (o Options) withDefaults() Options {
	setDefault(&o.Slots, 16)
	setDefault(&o.LockTTL, 6*time.Second)
	setDefault(&o.RunLimit, 15*time.Minute)
	setDefault(&o.Backoff.Base, time.Second)
	setDefault(&o.Backoff.Max, 15*time.Minute)
	setDefault(&o.Pace.Burst, 4)
	setDefault(&o.Pace.Every, 2*time.Second)
	setDefault(&o.Jitter, 0.1)
	return o
}

func setDefault[T int | float64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// Runtime is what all stages of a process share.
type Runtime struct {
	Bus     *bus.Conn
	Log     *slog.Logger
	Metrics *Metrics
	Tracer  trace.Tracer
	// Holder names this process in locks and logs; it must be unique among all replicas, also across restarts.
	Holder string
}

// Stage is the queue and the workers of one stage in this process. All replicas of it, in any process, share the queue.
type Stage struct {
	Name string

	rt      *Runtime
	opts    Options
	handler Handler
	locks   *locks
	outbox  *outbox
	log     *slog.Logger

	inHand sync.Map // object → struct{}: being worked on in this process

	declaring sync.Mutex // one slot at a time declares the consumer

	mu       sync.Mutex // held for moments only
	consumer jetstream.Consumer
	pulls    context.Context // ends when outstanding pulls are of no use any more
	endPulls context.CancelFunc
	resync   chan struct{}
}

// New makes a stage. Nothing happens before Run.
func New(rt *Runtime, name string, h Handler, o Options) *Stage {
	o = o.withDefaults()
	s := &Stage{
		Name: name, rt: rt, opts: o, handler: h,
		locks:  newLocks(rt.Bus, name, rt.Holder, o.LockTTL),
		outbox: newOutbox(rt.Bus, name),
		log:    rt.Log.With("stage", name),
		resync: make(chan struct{}, 1),
	}
	s.renewPulls()
	rt.Bus.Subscribe(s.busBack)
	rt.Metrics.watchDepth(s)
	return s
}

// busBack is called when the bus is usable again.
func (s *Stage) busBack(wiped bool) {
	s.mu.Lock()
	s.consumer = nil
	s.endPulls()
	s.mu.Unlock()
	s.renewPulls()
	if wiped {
		s.locks.forgetFree()
		select {
		case s.resync <- struct{}{}:
		default:
		}
	}
}

func (s *Stage) renewPulls() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pulls, s.endPulls = context.WithCancel(context.Background())
}

// Trigger wakes an object. It returns at once; the trigger is kept here until the bus has it.
func (s *Stage) Trigger(ctx context.Context, key types.NamespacedName, hint Hint) {
	// The trace of all that follows begins here.
	ctx, span := s.rt.Tracer.Start(ctx, s.Name+" trigger", trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		attribute.String("sluice.object", key.String()), attribute.String("sluice.cause", hint.Cause)))
	defer span.End()
	s.outbox.add(key, hint.header(ctx))
}

// TriggerAll wakes objects, in that order, and returns when the bus has all the triggers.
func (s *Stage) TriggerAll(ctx context.Context, keys []types.NamespacedName, hint Hint) error {
	batch := make([]wakeUp, len(keys))
	for i, key := range keys {
		batch[i] = wakeUp{key, hint.header(ctx)}
	}
	for _, f := range publishAll(ctx, s.rt.Bus, s.Name, batch) {
		return fmt.Errorf("trigger %s %s: %w", s.Name, f.key, f.err)
	}
	return nil
}

// Wake asks another stage for a run of an object: the stage before, when what it made is lost.
func Wake(ctx context.Context, b *bus.Conn, stage string, key types.NamespacedName, hint Hint) error {
	for _, f := range publishAll(ctx, b, stage, []wakeUp{{key, hint.header(ctx)}}) {
		return fmt.Errorf("wake %s %s: %w", stage, key, f.err)
	}
	return nil
}

// Ensure arms a run, now, of every object that has none armed: after the bus lost what it held, and for a
// safety net at start. Objects with an armed run are left alone.
func (s *Stage) Ensure(ctx context.Context, keys []types.NamespacedName) error {
	for _, key := range keys {
		header := Hint{Cause: "resync"}.header(ctx)
		err := s.rt.Bus.Schedule(ctx, s.Name, key, time.Now(), header, true)
		if err != nil && err != bus.ErrConflict {
			return err
		}
	}
	return nil
}

// Run works until ctx ends. Then it takes no more triggers, ends the runs under way, gives their triggers
// back so that other replicas go on at once, and returns.
func (s *Stage) Run(ctx context.Context) {
	s.declareFacts(ctx)
	var wg sync.WaitGroup
	for range s.opts.Slots {
		wg.Go(func() { s.slot(ctx) })
	}
	wg.Go(func() { s.outbox.run(ctx) })
	wg.Go(func() { s.resyncLoop(ctx) })
	if len(s.opts.Facts) > 0 {
		wg.Go(func() { s.followFacts(ctx) })
	}
	if s.opts.Hints != nil {
		wg.Go(func() { FollowHints(ctx, s.rt.Bus, s.log, s.Name, s.takeHints) })
	}
	<-ctx.Done()
	s.mu.Lock()
	s.endPulls()
	s.mu.Unlock()
	wg.Wait()
}

// resyncLoop does a full pass whenever the bus was wiped, and at start one for objects with nothing armed.
func (s *Stage) resyncLoop(ctx context.Context) {
	s.fullPass(ctx, func(keys []types.NamespacedName) error { return s.Ensure(ctx, s.outbox.notWoken(keys)) })
	s.outbox.endStart()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.resync:
			s.declareFacts(ctx)
			s.fullPass(ctx, func(keys []types.NamespacedName) error {
				return s.TriggerAll(ctx, keys, Hint{Cause: "resync"})
			})
		}
	}
}

func (s *Stage) fullPass(ctx context.Context, wake func([]types.NamespacedName) error) {
	if s.opts.Objects == nil {
		return
	}
	for ctx.Err() == nil {
		keys, err := s.opts.Objects(ctx)
		if err == nil {
			err = wake(keys)
		}
		if err == nil {
			s.log.Info("full pass asked for", "objects", len(keys))
			return
		}
		s.log.Warn("full pass not asked for yet, trying on", "err", err)
		sleep(ctx, time.Second)
	}
}

package stage_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/stage"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
)

type handlerFunc func(ctx context.Context, run *stage.Run) (stage.Result, error)

func (f handlerFunc) Run(ctx context.Context, run *stage.Run) (stage.Result, error) {
	return f(ctx, run)
}

var fast = stage.Options{
	Slots: 4, LockTTL: time.Second,
	Backoff: stage.Backoff{Base: 50 * time.Millisecond, Max: time.Second},
	Pace:    stage.Pace{Burst: 1000, Every: time.Millisecond},
}

var app = types.NamespacedName{Namespace: "default", Name: "app.one"}

// replica is one process's worth of a stage, with a connection of its own.
type replica struct {
	*stage.Stage
	Bus  *bus.Conn
	stop func()
}

var replicas atomic.Int64

func start(t testing.TB, server *bustest.Server, h stage.Handler, o stage.Options) *replica {
	t.Helper()
	conn := server.Connect()
	rt := &stage.Runtime{
		Bus: conn, Log: bustest.Logger(t), Metrics: stage.NewMetrics(prometheus.NewRegistry()),
		Tracer: noop.NewTracerProvider().Tracer(""), Holder: fmt.Sprintf("replica-%d", replicas.Add(1)),
	}
	s := stage.New(rt, "test", h, o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	stop := sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return &replica{s, conn, stop}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within 20s: %s", what)
}

func TestTriggersDuringARunCauseOneMore(t *testing.T) {
	var runs atomic.Int32
	inside, release := make(chan struct{}), make(chan struct{})
	s := start(t, bustest.Start(t), handlerFunc(func(context.Context, *stage.Run) (stage.Result, error) {
		if runs.Add(1) == 1 {
			close(inside)
			<-release
		}
		return stage.Result{}, nil
	}), fast)
	s.Trigger(t.Context(), app, stage.Hint{})
	<-inside
	for range 50 {
		if err := s.TriggerAll(t.Context(), []types.NamespacedName{app}, stage.Hint{}); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	waitFor(t, "a second run", func() bool { return runs.Load() == 2 })
	waitFor(t, "an empty queue", func() bool { d, err := s.Depth(t.Context()); return err == nil && d == 0 })
	if n := runs.Load(); n != 2 {
		t.Fatalf("%d runs for 51 triggers; want 2", n)
	}
}

// TestReplicasExcludeEachOther triggers a few objects at random from three replicas that all work slowly enough to meet. The number that
// each run reads must be the last one in the end, and no two runs of one object may overlap.
func TestReplicasExcludeEachOther(t *testing.T) {
	server := bustest.Start(t)
	var desired, seen [5]atomic.Int64
	var working [5]atomic.Int32
	var overlaps atomic.Int32
	work := handlerFunc(func(ctx context.Context, run *stage.Run) (stage.Result, error) {
		var i int
		_, _ = fmt.Sscanf(run.Key.Name, "app-%d", &i)
		if working[i].Add(1) != 1 {
			overlaps.Add(1)
		}
		want := desired[i].Load()
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
		seen[i].Store(want)
		working[i].Add(-1)
		return stage.Result{}, nil
	})
	var all []*replica
	for range 3 {
		all = append(all, start(t, server, work, fast))
	}
	for n := range 300 {
		i := rand.IntN(5)
		desired[i].Store(int64(n + 1))
		key := types.NamespacedName{Namespace: "default", Name: fmt.Sprintf("app-%d", i)}
		all[rand.IntN(3)].Trigger(t.Context(), key, stage.Hint{})
		time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
	}
	waitFor(t, "every object at its last number", func() bool {
		for i := range desired {
			if seen[i].Load() != desired[i].Load() {
				return false
			}
		}
		return true
	})
	if n := overlaps.Load(); n > 0 {
		t.Fatalf("%d runs overlapped another of the same object", n)
	}
}

func TestErrorsSayWhatFollows(t *testing.T) {
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		fail func(n int32) error
		runs int32 // to be reached, and not passed within the time of several retries
	}{
		"retry until it works": {func(n int32) error {
			if n < 4 {
				return boom
			}
			return nil
		}, 4},
		"come back after a time": {func(n int32) error {
			if n < 3 {
				return stage.After(30*time.Millisecond, boom)
			}
			return nil
		}, 3},
		"stall": {func(int32) error { return fmt.Errorf("apply: %w", stage.Stall(boom)) }, 1},
		"panic is a failure": {func(n int32) error {
			if n < 3 {
				panic("poison")
			}
			return nil
		}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			var runs atomic.Int32
			s := start(t, bustest.Start(t), handlerFunc(func(context.Context, *stage.Run) (stage.Result, error) {
				return stage.Result{}, c.fail(runs.Add(1))
			}), fast)
			s.Trigger(t.Context(), app, stage.Hint{})
			waitFor(t, fmt.Sprintf("%d runs", c.runs), func() bool { return runs.Load() >= c.runs })
			time.Sleep(300 * time.Millisecond)
			if n := runs.Load(); n != c.runs {
				t.Fatalf("%d runs; want %d", n, c.runs)
			}
		})
	}
}

func TestAFailingObjectDoesNotHoldUpOthers(t *testing.T) {
	var good atomic.Int32
	o := fast
	o.Slots = 1
	s := start(t, bustest.Start(t), handlerFunc(func(_ context.Context, run *stage.Run) (stage.Result, error) {
		if strings.HasPrefix(run.Key.Name, "bad") {
			panic("poison")
		}
		good.Add(1)
		return stage.Result{}, nil
	}), o)
	for i := range 20 {
		s.Trigger(t.Context(), types.NamespacedName{Namespace: "a", Name: fmt.Sprintf("bad-%d", i)}, stage.Hint{})
		s.Trigger(t.Context(), types.NamespacedName{Namespace: "a", Name: fmt.Sprintf("good-%d", i)}, stage.Hint{})
	}
	waitFor(t, "all good objects run", func() bool { return good.Load() == 20 })
}

func TestNextRunIsArmedAndReplaced(t *testing.T) {
	var runs atomic.Int32
	s := start(t, bustest.Start(t), handlerFunc(func(context.Context, *stage.Run) (stage.Result, error) {
		runs.Add(1)
		return stage.Result{Next: 100 * time.Millisecond}, nil
	}), fast)
	s.Trigger(t.Context(), app, stage.Hint{})
	waitFor(t, "five runs by interval", func() bool { return runs.Load() >= 5 })
}

// TestIdleRunsLeaveTheArmedRun lets runs that do nothing come more often than the interval: it must end all the same.
func TestIdleRunsLeaveTheArmedRun(t *testing.T) {
	var scheduled atomic.Int32
	s := start(t, bustest.Start(t), handlerFunc(func(_ context.Context, run *stage.Run) (stage.Result, error) {
		if run.Hint.Cause == "schedule" {
			scheduled.Add(1)
		}
		return stage.Result{Next: 500 * time.Millisecond, Idle: true}, nil
	}), fast)
	waitFor(t, "two scheduled runs among many others", func() bool {
		s.Trigger(t.Context(), app, stage.Hint{Cause: "other"})
		return scheduled.Load() >= 2
	})
}

func TestGracefulStopHandsOver(t *testing.T) {
	server := bustest.Start(t)
	var first, second atomic.Int32
	inside := make(chan struct{})
	a := start(t, server, handlerFunc(func(ctx context.Context, _ *stage.Run) (stage.Result, error) {
		first.Add(1)
		close(inside)
		<-ctx.Done()
		return stage.Result{}, ctx.Err()
	}), stage.Options{LockTTL: 30 * time.Second})
	a.Trigger(t.Context(), app, stage.Hint{})
	<-inside
	start(t, server, handlerFunc(func(context.Context, *stage.Run) (stage.Result, error) {
		second.Add(1)
		return stage.Result{}, nil
	}), stage.Options{LockTTL: 30 * time.Second})
	stopped := time.Now()
	a.stop()
	waitFor(t, "the other replica to take over", func() bool { return second.Load() == 1 })
	if took := time.Since(stopped); took > 5*time.Second {
		t.Fatalf("taken over after %v: by expiry, not at once", took)
	}
}

func TestLostLockEndsTheRunAndFencesItsWrites(t *testing.T) {
	server := bustest.Start(t)
	type outcome struct{ cause, save, guard error }
	outcomes := make(chan outcome, 10)
	var runs atomic.Int32
	var s *replica
	s = start(t, server, handlerFunc(func(ctx context.Context, run *stage.Run) (stage.Result, error) {
		if runs.Add(1) > 1 {
			return stage.Result{}, nil
		}
		// Somebody else takes the lock, as after an expiry that this process slept through.
		if err := s.Bus.DropState(ctx, bus.LockKey("test", app)); err != nil {
			return stage.Result{}, err
		}
		if _, err := s.Bus.PutState(ctx, bus.LockKey("test", app), []byte("thief"), time.Second, bus.Condition{Key: bus.LockKey("test", app)}); err != nil {
			return stage.Result{}, err
		}
		save := run.Save(ctx, "stale")
		<-ctx.Done()
		outcomes <- outcome{context.Cause(ctx), save, run.Guard()}
		return stage.Result{}, ctx.Err()
	}), fast)
	s.Trigger(t.Context(), app, stage.Hint{})
	got := <-outcomes
	for what, err := range map[string]error{"cause": got.cause, "save": got.save, "guard": got.guard} {
		if !errors.Is(err, stage.ErrLockLost) {
			t.Errorf("%s of the run that lost its lock: %v; want ErrLockLost", what, err)
		}
	}
	waitFor(t, "the run to come again after the thief", func() bool { return runs.Load() == 2 })
}

// TestRunsThatEndWithTheirProcessAreBackedOff lets each run leave a lock behind that nobody renews, as a killed process does.
func TestRunsThatEndWithTheirProcessAreBackedOff(t *testing.T) {
	server := bustest.Start(t)
	h := &reporting{}
	var runs atomic.Int32
	var s *replica
	h.handlerFunc = func(ctx context.Context, run *stage.Run) (stage.Result, error) {
		runs.Add(1)
		key := bus.LockKey("test", app)
		entry, err := s.Bus.GetState(ctx, key)
		if err == nil {
			_, err = s.Bus.PutState(ctx, key, []byte("dead"), time.Second, bus.Condition{Key: key, Revision: entry.Revision})
		}
		if err != nil {
			return stage.Result{}, err
		}
		return stage.Result{}, run.Save(ctx, "never written")
	}
	o := fast
	o.Backoff = stage.Backoff{Base: time.Hour, Max: time.Hour}
	s = start(t, server, h, o)
	s.Trigger(t.Context(), app, stage.Hint{})
	waitFor(t, "a report", func() bool { return h.reports.Load() == 1 })
	waitFor(t, "an empty queue", func() bool { d, err := s.Depth(t.Context()); return err == nil && d == 0 })
	if n := runs.Load(); n != 3 {
		t.Fatalf("%d runs before the object was backed off; want 3", n)
	}
}

type reporting struct {
	handlerFunc
	reports atomic.Int32
}

func (r *reporting) Report(context.Context, *stage.Run, error) { r.reports.Add(1) }

func TestWipedBusIsAskedForAllWorkAgain(t *testing.T) {
	server := bustest.Start(t)
	var seen sync.Map
	keys := []types.NamespacedName{{Namespace: "a", Name: "one"}, {Namespace: "b", Name: "two"}}
	var count atomic.Int32
	o := fast
	o.Objects = func(context.Context) ([]types.NamespacedName, error) { return keys, nil }
	start(t, server, handlerFunc(func(_ context.Context, run *stage.Run) (stage.Result, error) {
		seen.Store(run.Key, true)
		count.Add(1)
		return stage.Result{Next: time.Hour}, nil
	}), o)
	both := func() bool {
		_, one := seen.Load(keys[0])
		_, two := seen.Load(keys[1])
		return one && two
	}
	waitFor(t, "the first full pass", both)
	before := count.Load()
	server.Restart(false)
	time.Sleep(500 * time.Millisecond)
	if n := count.Load(); n != before {
		t.Errorf("a restart caused %d runs though everything was armed", n-before)
	}
	seen.Clear()
	server.Restart(true)
	waitFor(t, "a full pass after the wipe", both)
}

func TestGoneObjectsAreForgotten(t *testing.T) {
	var gone atomic.Bool
	var runs atomic.Int32
	s := start(t, bustest.Start(t), handlerFunc(func(ctx context.Context, run *stage.Run) (stage.Result, error) {
		defer runs.Add(1)
		return stage.Result{Next: time.Hour, Gone: gone.Load()}, run.Save(ctx, "something")
	}), fast)
	s.Trigger(t.Context(), app, stage.Hint{})
	var v string
	waitFor(t, "the saved state", func() bool { ok, err := stage.ReadState(t.Context(), s.Bus, "test", app, &v); return err == nil && ok })
	gone.Store(true)
	s.Trigger(t.Context(), app, stage.Hint{})
	waitFor(t, "nothing remembered", func() bool {
		m, err := s.Bus.LastTrigger(t.Context(), "test", app)
		ok, err2 := stage.ReadState(t.Context(), s.Bus, "test", app, &v)
		return err == nil && err2 == nil && m == nil && !ok && runs.Load() == 2
	})
}

// TestAnObjectThatIsThereAgain: a trigger that comes while the object is being forgotten is for the next of its name.
func TestAnObjectThatIsThereAgain(t *testing.T) {
	var runs atomic.Int32
	var self *replica
	ready := make(chan struct{})
	self = start(t, bustest.Start(t), handlerFunc(func(ctx context.Context, run *stage.Run) (stage.Result, error) {
		<-ready
		if runs.Add(1) > 1 {
			return stage.Result{}, nil
		}
		return stage.Result{Gone: true}, self.TriggerAll(ctx, []types.NamespacedName{run.Key}, stage.Hint{Cause: "created"})
	}), fast)
	close(ready)
	self.Trigger(t.Context(), app, stage.Hint{Cause: "deleted"})
	waitFor(t, "a run of the new object", func() bool { return runs.Load() == 2 })
}

func TestPaceLimitsAStorm(t *testing.T) {
	var runs atomic.Int32
	o := fast
	o.Pace = stage.Pace{Burst: 2, Every: 300 * time.Millisecond}
	s := start(t, bustest.Start(t), handlerFunc(func(context.Context, *stage.Run) (stage.Result, error) {
		runs.Add(1)
		return stage.Result{}, nil
	}), o)
	var desired, last atomic.Int64
	begin := time.Now()
	for time.Since(begin) < time.Second {
		desired.Add(1)
		s.Trigger(t.Context(), app, stage.Hint{})
		time.Sleep(10 * time.Millisecond)
	}
	last.Store(int64(runs.Load()))
	allowed := int32(2 + time.Since(begin)/(300*time.Millisecond) + 1)
	if n := runs.Load(); n > allowed || n < 2 {
		t.Fatalf("%d runs within %v; want 2 to %d", n, time.Since(begin), allowed)
	}
	waitFor(t, "the last trigger to be run", func() bool {
		d, err := s.Depth(t.Context())
		return err == nil && d == 0 && int64(runs.Load()) > last.Load()
	})
}

func TestIdleRunsDoNotCountForThePace(t *testing.T) {
	var runs atomic.Int32
	o := fast
	o.Pace = stage.Pace{Burst: 2, Every: time.Hour}
	s := start(t, bustest.Start(t), handlerFunc(func(context.Context, *stage.Run) (stage.Result, error) {
		runs.Add(1)
		return stage.Result{Idle: true}, nil
	}), o)
	for i := range int32(10) {
		s.Trigger(t.Context(), app, stage.Hint{})
		waitFor(t, "the next run", func() bool { return runs.Load() > i })
	}
}

// TestIdleRunsInARowDoNotCountForThePace: each is found by the worker of the one before, under the same lock.
func TestIdleRunsInARowDoNotCountForThePace(t *testing.T) {
	var runs atomic.Int32
	var self *replica
	ready := make(chan struct{})
	o := fast
	o.Pace = stage.Pace{Burst: 2, Every: time.Hour}
	self = start(t, bustest.Start(t), handlerFunc(func(ctx context.Context, run *stage.Run) (stage.Result, error) {
		<-ready
		if runs.Add(1) >= 10 {
			return stage.Result{Idle: true}, nil
		}
		return stage.Result{Idle: true}, self.TriggerAll(ctx, []types.NamespacedName{run.Key}, stage.Hint{})
	}), o)
	close(ready)
	self.Trigger(t.Context(), app, stage.Hint{})
	waitFor(t, "ten runs", func() bool { return runs.Load() == 10 })
}

func TestFactsWakeObjects(t *testing.T) {
	server := bustest.Start(t)
	woken := make(chan *stage.Run, 10)
	o := fast
	o.Facts = []string{bus.FactSourceRevised}
	o.Map = func(_ context.Context, f *factsv1.Fact) ([]types.NamespacedName, error) {
		return []types.NamespacedName{{Namespace: f.Object.Namespace, Name: "follows-" + f.Object.Name}}, nil
	}
	s := start(t, server, handlerFunc(func(_ context.Context, run *stage.Run) (stage.Result, error) {
		woken <- run
		return stage.Result{}, nil
	}), o)
	waitFor(t, "the consumer", func() bool {
		_, err := s.Bus.JS.Consumer(t.Context(), bus.StreamFacts, "test")
		return err == nil
	})
	fact := &factsv1.Fact{Object: &factsv1.ObjectReference{Namespace: "n", Name: "repo"}, Kind: &factsv1.Fact_SourceRevised{SourceRevised: &factsv1.SourceRevised{}}}
	if err := s.Bus.PublishFact(t.Context(), fact, nil); err != nil {
		t.Fatal(err)
	}
	select {
	case run := <-woken:
		if run.Key.Name != "follows-repo" || run.Hint.Cause != "fact" {
			t.Fatalf("woken: %v by %q", run.Key, run.Hint.Cause)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("fact woke nobody")
	}
}

func TestTriggersAreKeptWhileTheBusIsAway(t *testing.T) {
	server := bustest.Start(t)
	var runs atomic.Int32
	s := start(t, server, handlerFunc(func(context.Context, *stage.Run) (stage.Result, error) {
		runs.Add(1)
		return stage.Result{}, nil
	}), fast)
	server.Stop()
	s.Trigger(t.Context(), app, stage.Hint{})
	server.Restart(false)
	waitFor(t, "the run", func() bool { return runs.Load() > 0 })
}

// TestObjectsWokenBeforeTheFirstPassRunOnce: what watches find at the start is no reason to arm it, too.
func TestObjectsWokenBeforeTheFirstPassRunOnce(t *testing.T) {
	var woken, other atomic.Int32
	first, second := types.NamespacedName{Namespace: "a", Name: "woken"}, types.NamespacedName{Namespace: "a", Name: "other"}
	listed, seen := make(chan *replica, 1), make(chan struct{})
	o := fast
	o.Objects = func(ctx context.Context) ([]types.NamespacedName, error) {
		(<-listed).Trigger(ctx, first, stage.Hint{Cause: "created"})
		<-seen // so that arming it would cause a second run
		return []types.NamespacedName{first, second}, nil
	}
	s := start(t, bustest.Start(t), handlerFunc(func(_ context.Context, run *stage.Run) (stage.Result, error) {
		if run.Key == first {
			woken.Add(1)
			close(seen)
		} else {
			other.Add(1)
		}
		return stage.Result{}, nil
	}), o)
	listed <- s
	waitFor(t, "a run of the other object", func() bool { return other.Load() == 1 })
	waitFor(t, "an empty queue", func() bool { d, err := s.Depth(t.Context()); return err == nil && d == 0 })
	if n := woken.Load(); n != 1 {
		t.Errorf("%d runs of the object that was woken; want 1", n)
	}
}

package stage_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/stage"
)

// strict is fast with a pace at which nothing but parts gets through a test.
var strict = func() stage.Options {
	o := fast
	o.Pace = stage.Pace{Burst: 2, Every: time.Hour}
	return o
}()

// count goes on from the number that is kept, by one.
func count(ctx context.Context, run *stage.Run) (n int, err error) {
	if _, err := run.Load(&n); err != nil {
		return 0, err
	}
	n++
	return n, run.Keep(n)
}

// TestPartsFollowOneAnother: what a run leaves to do is done at once, however much it is, and the armed run is that of the last part.
func TestPartsFollowOneAnother(t *testing.T) {
	var runs atomic.Int32
	s := start(t, bustest.Start(t), handlerFunc(func(ctx context.Context, run *stage.Run) (stage.Result, error) {
		runs.Add(1)
		n, err := count(ctx, run)
		return stage.Result{More: n < 60, Next: time.Hour}, err
	}), strict)
	s.Trigger(t.Context(), app, stage.Hint{})
	waitFor(t, "60 parts", func() bool { return runs.Load() == 60 })
	waitFor(t, "an empty queue", func() bool { d, err := s.Depth(t.Context()); return err == nil && d == 0 })
	if n := runs.Load(); n != 60 {
		t.Errorf("%d runs; want 60", n)
	}
	if err := s.Bus.Schedule(t.Context(), "test", app, time.Now(), nil, true); !errors.Is(err, bus.ErrConflict) {
		t.Errorf("no run is armed after the last part: %v", err)
	}
}

// TestPartsThatGetNowhereKeepThePace: a handler that asks to go on and keeps nothing new does not spin.
func TestPartsThatGetNowhereKeepThePace(t *testing.T) {
	var runs atomic.Int32
	s := start(t, bustest.Start(t), handlerFunc(func(_ context.Context, run *stage.Run) (stage.Result, error) {
		runs.Add(1)
		return stage.Result{More: true}, run.Keep("the same")
	}), strict)
	s.Trigger(t.Context(), app, stage.Hint{})
	waitFor(t, "the burst", func() bool { return runs.Load() == 2 })
	time.Sleep(500 * time.Millisecond)
	if n := runs.Load(); n > 3 { // the first part, which keeps something, is nearly free
		t.Errorf("%d runs at a pace of 2", n)
	}
}

// TestPartsLetOthersBetween: with one slot, who is triggered while an object has much to do waits for a part of it, not for all.
func TestPartsLetOthersBetween(t *testing.T) {
	o := strict
	o.Slots = 1
	other := types.NamespacedName{Namespace: "default", Name: "other"}
	begun, between := make(chan struct{}), make(chan int32, 1)
	var parts atomic.Int32
	s := start(t, bustest.Start(t), handlerFunc(func(ctx context.Context, run *stage.Run) (stage.Result, error) {
		if run.Key == other {
			between <- parts.Load()
			return stage.Result{}, nil
		}
		if parts.Add(1) == 1 {
			<-begun
		}
		n, err := count(ctx, run)
		return stage.Result{More: n < 50}, err
	}), o)
	s.Trigger(t.Context(), app, stage.Hint{})
	waitFor(t, "the first part", func() bool { return parts.Load() == 1 })
	if err := s.TriggerAll(t.Context(), []types.NamespacedName{other}, stage.Hint{}); err != nil {
		t.Fatal(err)
	}
	close(begun)
	if n := <-between; n != 1 {
		t.Errorf("the other object ran after %d parts; want 1", n)
	}
	waitFor(t, "all parts", func() bool { return parts.Load() == 50 })
}

// TestTriggersBetweenParts: a trigger that comes during a part is neither lost nor one run too many.
func TestTriggersBetweenParts(t *testing.T) {
	var runs, seen atomic.Int64
	var self *replica
	ready := make(chan struct{})
	self = start(t, bustest.Start(t), handlerFunc(func(ctx context.Context, run *stage.Run) (stage.Result, error) {
		<-ready
		runs.Add(1)
		if g := run.Hint.Generation; g > 0 {
			seen.Store(g)
		}
		n, err := count(ctx, run)
		if n == 3 {
			err = errors.Join(err, self.TriggerAll(ctx, []types.NamespacedName{app}, stage.Hint{Cause: "changed", Generation: 7}))
		}
		return stage.Result{More: n < 6}, err
	}), strict)
	close(ready)
	self.Trigger(t.Context(), app, stage.Hint{Generation: 2})
	waitFor(t, "all parts and an empty queue", func() bool {
		d, err := self.Depth(t.Context())
		return err == nil && d == 0 && runs.Load() >= 6
	})
	if n := runs.Load(); n != 6 {
		t.Errorf("%d runs; want 6", n)
	}
	if seen.Load() != 7 {
		t.Errorf("the last runs were told of generation %d; want 7", seen.Load())
	}
}

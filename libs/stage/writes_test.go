package stage_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/stage"
)

// steady is fast without luck in when the next run is.
var steady = func() stage.Options {
	o := fast
	o.Jitter = 1e-9
	return o
}()

// stored is how many messages were ever stored in a stream.
func stored(t *testing.T, c *bus.Conn, stream string) uint64 {
	t.Helper()
	s, err := c.JS.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.LastSeq
}

// TestWhatARunStores counts messages: each is a sync of the bus's disk.
func TestWhatARunStores(t *testing.T) {
	for name, c := range map[string]struct {
		run         handlerFunc
		state, work uint64 // stored by a run of an object that has run before
	}{
		"keeps something new": {func(ctx context.Context, run *stage.Run) (stage.Result, error) {
			_, err := count(ctx, run)
			return stage.Result{Next: time.Hour}, err
		}, 3, 1}, // lock, record, freed lock; trigger
		"saves before": {func(ctx context.Context, run *stage.Run) (stage.Result, error) {
			return stage.Result{Next: time.Hour}, run.Save(ctx, time.Now())
		}, 4, 1},
		"asks for an exact time": {func(context.Context, *stage.Run) (stage.Result, error) {
			return stage.Result{Next: time.Hour, Exact: true}, nil
		}, 3, 2}, // with the armed run
		"does nothing": {func(context.Context, *stage.Run) (stage.Result, error) {
			return stage.Result{Next: 2 * time.Hour, Idle: true}, nil
		}, 2, 1},
		"does nothing and keeps something new": {func(ctx context.Context, run *stage.Run) (stage.Result, error) {
			_, err := count(ctx, run)
			return stage.Result{Next: 2 * time.Hour, Idle: true}, err
		}, 3, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var runs atomic.Int32
			s := start(t, bustest.Start(t), handlerFunc(func(ctx context.Context, run *stage.Run) (stage.Result, error) {
				defer runs.Add(1)
				return c.run(ctx, run)
			}), steady)
			once := func() {
				before := runs.Load()
				s.Trigger(t.Context(), app, stage.Hint{})
				waitFor(t, "a run", func() bool { return runs.Load() > before })
				waitFor(t, "an empty queue", func() bool { d, err := s.Depth(t.Context()); return err == nil && d == 0 })
			}
			once()
			state, work := stored(t, s.Bus, "KV_"+bus.BucketState), stored(t, s.Bus, bus.StreamWork)
			once()
			if got := stored(t, s.Bus, "KV_"+bus.BucketState) - state; got != c.state {
				t.Errorf("%d messages of state; want %d", got, c.state)
			}
			if got := stored(t, s.Bus, bus.StreamWork) - work; got != c.work {
				t.Errorf("%d messages of work; want %d", got, c.work)
			}
		})
	}
}

// TestArmedRuns: an armed run stays as long as it comes about when it should.
func TestArmedRuns(t *testing.T) {
	var next atomic.Int64
	var runs atomic.Int32
	s := start(t, bustest.Start(t), handlerFunc(func(context.Context, *stage.Run) (stage.Result, error) {
		defer runs.Add(1)
		return stage.Result{Next: time.Duration(next.Load())}, nil
	}), fast)
	armed := func(d time.Duration) time.Time {
		before := runs.Load()
		next.Store(int64(d))
		s.Trigger(t.Context(), app, stage.Hint{})
		waitFor(t, "a run", func() bool { return runs.Load() > before })
		waitFor(t, "an empty queue", func() bool { d, err := s.Depth(t.Context()); return err == nil && d == 0 })
		at, err := s.Bus.Scheduled(t.Context(), "test", app)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	first := armed(time.Hour)
	for _, c := range []struct {
		next time.Duration
		same bool
	}{{time.Hour, true}, {90 * time.Minute, true}, {5 * time.Hour, false}, {time.Minute, false}, {0, false}, {time.Hour, false}} {
		at := armed(c.next)
		if at.Equal(first) != c.same {
			t.Errorf("asked for a run in %v: armed at %v, before at %v", c.next, at, first)
		}
		if left := time.Until(at); c.next > 0 && (left > c.next*11/10 || left < c.next*4/10) {
			t.Errorf("asked for a run in %v: armed in %v", c.next, left)
		}
		first = at
	}
}

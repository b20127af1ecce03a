package lab

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestTrackerTellsWhenEachWasFirstSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := NewTracker[int]()
		start := time.Now()
		tracker.set("early", 2)
		wait := tracker.Expect([]string{"early", "late", "again"}, func(_ string, n int) bool { return n >= 2 })
		go func() {
			for _, step := range []struct {
				name  string
				state int
			}{{"late", 1}, {"again", 2}, {"again", 3}, {"other", 9}, {"late", 2}} {
				time.Sleep(time.Second)
				tracker.set(step.name, step.state)
			}
		}()
		times, err := wait.Within(t.Context(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]time.Duration{"early": 0, "again": 2 * time.Second, "late": 5 * time.Second} {
			if got := times[name].Sub(start); got != want {
				t.Errorf("%s after %s; want %s", name, got, want)
			}
		}
	})
}

func TestTrackerSaysWhatDidNotHappenInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := NewTracker[int]()
		tracker.set("a", 1)
		times, err := tracker.Expect([]string{"a", "b"}, func(_ string, n int) bool { return n == 1 }).Within(t.Context(), time.Second)
		var late *NotWithinError
		if !errors.As(err, &late) || late.Missing != 1 || late.Example != "b" || len(times) != 1 {
			t.Errorf("%v, %v", times, err)
		}
		tracker.set("b", 1) // nobody waits any more
	})
}

package stage

import (
	"testing"
	"time"
)

func TestBudget(t *testing.T) {
	p := Pace{Burst: 2, Every: time.Second}
	now := time.Unix(1000, 0)
	var b budget
	for i, c := range []struct {
		after time.Duration
		wait  time.Duration
	}{{0, 0}, {0, 0}, {0, time.Second}, {600 * time.Millisecond, 400 * time.Millisecond}, {400 * time.Millisecond, 0}, {time.Hour, 0}, {0, 0}, {0, time.Second}} {
		now = now.Add(c.after)
		if wait := b.take(p, now); (wait - c.wait).Abs() > time.Millisecond {
			t.Errorf("step %d: wait %v; want %v", i, wait, c.wait)
		}
	}
}

func TestBackoffGrowsToItsCap(t *testing.T) {
	b := Backoff{Base: time.Second, Max: 10 * time.Second}
	for failures, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 5: 10 * time.Second, 1000: 10 * time.Second} {
		if got := b.Delay(failures); got < want*8/10 || got > want*12/10 {
			t.Errorf("delay(%d) = %v; want about %v", failures, got, want)
		}
	}
}

func TestRecordCovers(t *testing.T) {
	at := time.Unix(1000, 0)
	r := record{Seq: 10, At: at}
	for name, c := range map[string]struct {
		t    trigger
		want bool
	}{
		"the same":                   {trigger{seq: 10, at: at}, true},
		"older":                      {trigger{seq: 9, at: at.Add(-time.Second)}, true},
		"newer":                      {trigger{seq: 11, at: at.Add(time.Second)}, false},
		"after the stream was wiped": {trigger{seq: 1, at: at.Add(time.Second)}, false},
	} {
		if got := r.covers(c.t); got != c.want {
			t.Errorf("%s: covers = %v; want %v", name, got, c.want)
		}
	}
}

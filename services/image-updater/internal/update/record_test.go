package update

import (
	"testing"
	"time"
)

func TestCollect(t *testing.T) {
	const quiet, most = time.Second, 3 * time.Second
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	r := &record{Done: "old"}
	for _, step := range []struct {
		what        string
		choices     string
		latest, now int // milliseconds
		want        int
	}{
		{"nothing new", "old", 0, 0, 0},
		{"the first change waits for the quiet period", "a", 0, 10, 1000},
		{"looking again does not prolong it", "a", 0, 510, 500},
		{"another change counts from when it was made", "b", 700, 1010, 690},
		{"one whose time nobody knows counts from now", "c", 700, 1700, 1000},
		{"one from a clock that is ahead, too", "d", 9000, 2500, 510},
		{"after the longest wait there is no more", "e", 3000, 3020, 0},
		{"gone back", "old", 3000, 3030, 0},
		{"and then a change begins anew", "f", 4000, 9000, 1000},
	} {
		left := r.collect(step.choices, at(step.latest), at(step.now), quiet, most)
		if want := time.Duration(step.want) * time.Millisecond; left != want || r.Waiting.left(at(step.now), quiet, most) != want {
			t.Errorf("%s: %s, want %s", step.what, left, want)
		}
	}
}

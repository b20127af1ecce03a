package harness

import (
	"testing"
	"time"
)

func TestOverlaps(t *testing.T) {
	base := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	run := func(object string, from, to int) Run {
		return Run{Stage: "apply", Object: object, Start: base.Add(time.Duration(from) * time.Second), End: base.Add(time.Duration(to) * time.Second)}
	}
	for name, c := range map[string]struct {
		runs []Run
		want int
	}{
		"one after the other":     {[]Run{run("a", 0, 1), run("a", 1, 2), run("a", 3, 4)}, 0},
		"different objects":       {[]Run{run("a", 0, 5), run("b", 1, 2)}, 0},
		"side by side":            {[]Run{run("a", 0, 2), run("a", 1, 3)}, 1},
		"within a long one":       {[]Run{run("a", 0, 9), run("a", 1, 2), run("a", 3, 4)}, 2},
		"others do not cover one": {[]Run{run("a", 0, 3), run("b", 1, 2), run("a", 2, 4)}, 1},
	} {
		if found := Overlaps(c.runs); len(found) != c.want {
			t.Errorf("%s: found %q, want %d", name, found, c.want)
		}
	}
}

func TestEndAtFreezes(t *testing.T) {
	base := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(s int) time.Time { return base.Add(time.Duration(s) * time.Second) }
	e := &Env{pauses: map[string][]Span{"r": {{at(10), at(18)}}}}
	for name, c := range map[string]struct {
		run  Run
		want time.Time
	}{
		"frozen in its midst": {Run{Replica: "r", Start: at(9), End: at(19)}, at(13)},
		"begun as it froze":   {Run{Replica: "r", Start: at(10), End: at(19)}, at(13)},
		"over before":         {Run{Replica: "r", Start: at(8), End: at(9)}, at(9)},
		"begun after":         {Run{Replica: "r", Start: at(18), End: at(30)}, at(30)},
		"of another replica":  {Run{Replica: "s", Start: at(9), End: at(19)}, at(19)},
	} {
		if got := e.EndAtFreezes([]Run{c.run}, 3*time.Second)[0].End; !got.Equal(c.want) {
			t.Errorf("%s: ends at %s, want %s", name, got, c.want)
		}
	}
}

package harness

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// Run is one run of one object by one replica, from the services' logs.
type Run struct {
	Stage, Object, Holder, Replica, Cause string
	Start, End                            time.Time
	// Cut says that the run never said that it finished: it ended with its process, or goes on.
	Cut bool
}

// Runs pairs the beginnings and ends of runs, ordered by their beginning. A run that never finished ends when its process did, or
// now.
func (e *Env) Runs(t testing.TB) []Run {
	t.Helper()
	open := map[string]Run{}
	var runs []Run
	for _, r := range e.Records(t) {
		key := r.Holder + " " + r.Stage + " " + r.Object
		switch r.Message {
		case "run started":
			if _, twice := open[key]; twice {
				t.Errorf("run of %s started twice", key)
			}
			open[key] = Run{Stage: r.Stage, Object: r.Object, Holder: r.Holder, Replica: r.Replica, Cause: r.Cause, Start: r.Time}
		case "run finished":
			run, ok := open[key]
			if !ok {
				t.Errorf("run of %s finished and never started", key)
				continue
			}
			delete(open, key)
			run.End = r.Time
			runs = append(runs, run)
		}
	}
	for _, run := range open {
		run.Cut, run.End = true, e.deathOf(run.Replica)
		runs = append(runs, run)
	}
	slices.SortFunc(runs, func(a, b Run) int { return a.Start.Compare(b.Start) })
	return runs
}

func (e *Env) deathOf(replica string) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	if at, ok := e.deaths[replica]; ok {
		return at
	}
	return time.Now()
}

// Span is a stretch of time.
type Span struct{ From, To time.Time }

// EndAtFreezes ends each run that a freeze of its replica interrupted a while after the freeze began: so long its lock surely lasted.
// After that the replica may believe in its lock no more, and others may work on the object. A run may also begin between the moment in
// which a freeze was asked for and the one in which the process stood still.
func (e *Env) EndAtFreezes(runs []Run, surely time.Duration) []Run {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := slices.Clone(runs)
	for i := range out {
		for _, freeze := range e.pauses[out[i].Replica] {
			end := freeze.From.Add(surely)
			if out[i].Start.Before(freeze.To) && out[i].End.After(end) {
				out[i].End, out[i].Cut = end, true
				break
			}
		}
	}
	return out
}

// Overlap is two runs of the same object and stage that were under way at the same time.
type Overlap struct{ Before, After Run }

func (o Overlap) String() string {
	return fmt.Sprintf("%s %s: %s began at %s, %s ended at %s", o.After.Stage, o.After.Object, o.After.Replica,
		o.After.Start.Format(time.RFC3339Nano), o.Before.Replica, o.Before.End.Format(time.RFC3339Nano))
}

// Overlapping finds the runs that overlap; runs are ordered by their beginning.
func Overlapping(runs []Run) []Overlap {
	var found []Overlap
	last := map[string]Run{} // by object: of the runs so far, the one that ended last
	for _, run := range runs {
		key := run.Stage + " " + run.Object
		before, ok := last[key]
		if ok && run.Start.Before(before.End) {
			found = append(found, Overlap{before, run})
		}
		if !ok || run.End.After(before.End) {
			last[key] = run
		}
	}
	return found
}

// Overlaps tells of runs of the same object and stage that were under way at the same time.
func Overlaps(runs []Run) []string {
	var found []string
	for _, overlap := range Overlapping(runs) {
		found = append(found, overlap.String())
	}
	return found
}

// CountRuns counts runs by what by says of each; an empty word does not count.
func CountRuns(runs []Run, by func(Run) string) map[string]int {
	counts := map[string]int{}
	for _, run := range runs {
		if word := by(run); word != "" {
			counts[word]++
		}
	}
	return counts
}

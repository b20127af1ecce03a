package e2e

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/e2e/harness"
)

const (
	stormPushes = 50
	stormTime   = 10 * time.Second
	// stormRuns is how many runs of one object and stage a storm may cost: a few at once, then one each two seconds.
	stormRuns = 15
)

// TestPushStorm pushes fifty times in ten seconds: few runs, and the last commit wins.
func TestPushStorm(t *testing.T) {
	rng := random(t)
	t.Run("spread", func(t *testing.T) { storm(t, spread(rng)) })
	t.Run("bursts", func(t *testing.T) { long(t); storm(t, bursts(rng)) })
}

// spread are moments anywhere in the time.
func spread(rng *rand.Rand) []time.Duration {
	var at []time.Duration
	for range stormPushes {
		at = append(at, time.Duration(rng.Int64N(int64(stormTime))))
	}
	slices.Sort(at)
	return at
}

// bursts are moments crowded around a few, with silence between.
func bursts(rng *rand.Rand) []time.Duration {
	var at []time.Duration
	for len(at) < stormPushes {
		start := rng.Int64N(int64(stormTime))
		for range 1 + rng.IntN(12) {
			at = append(at, time.Duration(start+rng.Int64N(int64(300*time.Millisecond))))
		}
	}
	slices.Sort(at)
	return at[:stormPushes]
}

func storm(t *testing.T, at []time.Duration) {
	e := world.Start(t, harness.Options{})
	writes := e.Record(t, e.Namespace)
	repo := e.NewRepo(t, "storm", 3)
	writes.AwaitAll(t, repo.Want(), settle)

	before := time.Now()
	for _, moment := range at {
		harness.Pause(t.Context(), time.Until(before.Add(moment)))
		if _, err := repo.PushAndRequest(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	pushed := time.Now()
	writes.AwaitAll(t, repo.Want(), settle)
	t.Logf("%d pushes in %s, the last one landed after %s", len(at), pushed.Sub(before), time.Since(pushed))
	if back := writes.Regressions(); len(back) > 0 {
		t.Error(back)
	}
	for _, app := range repo.Apps {
		harness.AwaitReady(t, e, app, settle)
	}
	wantFewRuns(t, e.Runs(t), before)
}

func wantFewRuns(t *testing.T, runs []harness.Run, since time.Time) {
	t.Helper()
	counts := harness.CountRuns(runs, func(r harness.Run) string {
		if r.Start.Before(since) {
			return ""
		}
		return r.Stage + " " + r.Object
	})
	t.Logf("runs: %v", counts)
	for object, n := range counts {
		if n > stormRuns {
			t.Errorf("%s ran %d times, want at most %d", object, n, stormRuns)
		}
	}
}

package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/e2e/harness"
)

// TestPushToObject measures the time from asking for a run, as a webhook does after a push, to the changed object.
func TestPushToObject(t *testing.T) {
	e := world.Start(t, harness.Options{})
	writes := e.Record(t, e.Namespace)
	// Several repositories take turns, so that none is pushed to so often that it is held to a pace.
	var repos []*harness.Repo
	for i := range 10 {
		repos = append(repos, e.NewRepo(t, fmt.Sprintf("shop-%d", i), 1))
	}
	for _, repo := range repos {
		writes.AwaitAll(t, repo.Want(), settle)
		harness.AwaitReady(t, e, repo.Apps[0], settle)
	}
	rounds := 4
	if testing.Short() {
		rounds = 1
	}
	var took []time.Duration
	for range rounds {
		for _, repo := range repos {
			took = append(took, pushAndMeasure(t, e, writes, repo))
		}
	}
	slices.Sort(took)
	t.Logf("%d pushes: p50 %s, p99 %s, fastest %s", len(took), took[len(took)/2], took[(len(took)*99-1)/100], took[0])
	if p50 := took[len(took)/2]; p50 > 5*time.Second {
		t.Errorf("p50 is %s: far more than a second", p50)
	}
	if back := writes.Regressions(); len(back) > 0 {
		t.Error(back)
	}
}

func pushAndMeasure(t *testing.T, e *harness.Env, writes *harness.Recorder, repo *harness.Repo) time.Duration {
	t.Helper()
	number := repo.Push(t)
	asked := time.Now()
	if err := repo.Request(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := writes.AwaitWrite(t, repo.Apps[0].Name, number, settle).Seen
	harness.AwaitReady(t, e, repo.Apps[0], settle) // the next push finds a quiet system
	return seen.Sub(asked)
}

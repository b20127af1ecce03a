package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"github.com/sluice-cd/sluice/e2e/harness"
)

// fleet is several repositories with their applications, and all that was ever written because of them.
type fleet struct {
	env                       *harness.Env
	repos                     []*harness.Repo
	objects, applied, sources *harness.Recorder
}

// newFleet makes repositories with so many applications each and returns when all are in the cluster.
func newFleet(t *testing.T, e *harness.Env, repos, apps int, edit ...func(*sourcev1.GitRepositorySpec)) *fleet {
	t.Helper()
	return newFleetNamed(t, e, "repo", repos, apps, edit...)
}

// newFleetNamed is newFleet for a second one in the same namespace.
func newFleetNamed(t *testing.T, e *harness.Env, name string, repos, apps int, edit ...func(*sourcev1.GitRepositorySpec)) *fleet {
	t.Helper()
	f := &fleet{
		env: e, objects: e.Record(t, e.Namespace), applied: e.RecordApplied(t, e.Namespace), sources: e.RecordSources(t, e.Namespace),
	}
	for i := range repos {
		f.repos = append(f.repos, e.NewRepo(t, fmt.Sprintf("%s-%d", name, i), apps, edit...))
	}
	f.awaitLast(t, settle)
	return f
}

// awaitLast returns when every object, every Kustomization and every GitRepository is at its last commit.
func (f *fleet) awaitLast(t *testing.T, within time.Duration) {
	t.Helper()
	objects, applied, sources := harness.WantAll(f.repos)
	f.objects.AwaitAll(t, objects, within)
	f.applied.AwaitAll(t, applied, within)
	f.sources.AwaitAll(t, sources, within)
	for _, repo := range f.repos {
		harness.AwaitReady(t, f.env, repo.Object, within)
		for _, app := range repo.Apps {
			harness.AwaitReady(t, f.env, app, within)
		}
	}
}

// wantNoRegressions holds that nothing older was written over something newer: objects, and what the statuses say.
func (f *fleet) wantNoRegressions(t *testing.T) {
	t.Helper()
	for what, r := range map[string]*harness.Recorder{"objects": f.objects, "status of Kustomizations": f.applied, "status of GitRepositories": f.sources} {
		t.Logf("%s: %d states seen", what, r.Total())
		for _, back := range r.Regressions() {
			t.Errorf("%s: %s", what, back)
		}
	}
}

// pushAll pushes to every repository and asks for its run.
func (f *fleet) pushAll(t *testing.T) {
	t.Helper()
	for _, repo := range f.repos {
		if _, err := repo.PushAndRequest(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// load pushes at random to random applications until the returned function is called, which returns how often it did.
func (f *fleet) load(t *testing.T, rng *rand.Rand, every time.Duration) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	pushes := 0
	var failure error
	var done sync.WaitGroup
	own := rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64())) // rng is the test's, this is another goroutine
	done.Go(func() {
		for ctx.Err() == nil && failure == nil {
			repo := f.repos[own.IntN(len(f.repos))]
			_, err := repo.PushTo(t.Context(), someApps(own, repo)...) // never broken off: git would leave a lock
			if err == nil {
				err = repo.Request(ctx)
			}
			if err != nil && ctx.Err() == nil {
				failure = err
			}
			pushes++
			harness.Pause(ctx, time.Duration(own.Int64N(int64(2*every))))
		}
	})
	var once sync.Once
	stop = func() int {
		once.Do(func() { cancel(); done.Wait() })
		if failure != nil {
			t.Errorf("load: %v", failure)
		}
		return pushes
	}
	t.Cleanup(func() { stop() })
	return stop
}

func someApps(rng *rand.Rand, repo *harness.Repo) []string {
	var apps []string
	for _, app := range repo.Apps {
		if rng.IntN(2) == 0 {
			apps = append(apps, app.Name)
		}
	}
	return apps // none means all
}

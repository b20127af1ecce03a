package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/e2e/harness"
)

const (
	// pollInterval is the interval of repositories for whose pushes nobody asks, askedInterval that of the others: a push of which a
	// git server knows nothing yet is found by the interval alone.
	pollInterval, askedInterval = 3 * time.Second, 30 * time.Second
	// gitTimeout is after how long a git server that says nothing is given up.
	gitTimeout = 20 * time.Second
	pushEvery  = 250 * time.Millisecond
)

// fleet is several repositories with their applications, and all that was ever written because of them.
type fleet struct {
	env      *harness.Env
	repos    []*harness.Repo
	polled   map[*harness.Repo]bool
	pushing  sync.Mutex                   // held by each push, and by who needs the repositories to stand still
	recorded map[string]*harness.Recorder // of numbers, by what
	failures map[string]*harness.Recorder // of reasons, by kind
}

func newFleet(t *testing.T, e *harness.Env) *fleet {
	t.Helper()
	f := &fleet{
		env: e, polled: map[*harness.Repo]bool{},
		recorded: map[string]*harness.Recorder{
			"objects": e.Record(t, e.Namespace), "Kustomizations": e.RecordApplied(t, e.Namespace), "GitRepositories": e.RecordSources(t, e.Namespace),
		},
		failures: map[string]*harness.Recorder{
			"GitRepository": e.RecordFailures(t, e.Namespace, &sourcev1.GitRepositoryList{}),
			"Kustomization": e.RecordFailures(t, e.Namespace, &kustomizev1.KustomizationList{}),
		},
	}
	for i := range 4 {
		polled, interval := i%2 == 0, askedInterval
		if polled {
			interval = pollInterval
		}
		repo := e.NewRepo(t, fmt.Sprintf("repo-%d", i), 3, func(s *sourcev1.GitRepositorySpec) {
			s.Interval, s.Timeout = metav1.Duration{Duration: interval}, &metav1.Duration{Duration: gitTimeout}
		})
		f.repos = append(f.repos, repo)
		f.polled[repo] = polled
	}
	return f
}

// push pushes a commit and, where that is how the repository's pushes become known, asks for a run. It does not matter when the
// API server takes no request.
func (f *fleet) push(ctx context.Context, repo *harness.Repo, apps ...string) error {
	f.pushing.Lock()
	_, err := repo.PushTo(ctx, apps...)
	f.pushing.Unlock()
	if err != nil {
		return err
	}
	if f.polled[repo] {
		return nil
	}
	ask, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = repo.Request(ask)
	return nil
}

// load pushes at random until the returned function is called, which ends with a commit to everything and returns the number of pushes.
func (f *fleet) load(t *testing.T, rng *rand.Rand) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	pushes := 0
	var failure error
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil && failure == nil {
			repo := f.repos[rng.IntN(len(f.repos))]
			// A push is never broken off: git would leave a lock, and a commit of which nobody knows whether it is there.
			failure = f.push(t.Context(), repo, someApps(rng, repo)...)
			pushes++
			harness.Pause(ctx, time.Duration(rng.Int64N(int64(2*pushEvery))))
		}
	})
	return func() int {
		cancel()
		done.Wait()
		if failure != nil {
			t.Errorf("load: %v", failure)
		}
		for _, repo := range f.repos {
			if err := f.push(t.Context(), repo); err != nil {
				t.Errorf("load: %v", err)
			}
		}
		return pushes + len(f.repos)
	}
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

// missing says what is not at the last commit, or not ready; nothing when all is.
func (f *fleet) missing(ctx context.Context) string {
	objects, applied, sources := harness.WantAll(f.repos)
	for what, want := range map[string]map[string]int{"objects": objects, "Kustomizations": applied, "GitRepositories": sources} {
		last := f.recorded[what].Last()
		for name, number := range want {
			if last[name] != number {
				return fmt.Sprintf("%s: %s is at %d, not %d", what, name, last[name], number)
			}
		}
	}
	return f.unready(ctx)
}

func (f *fleet) unready(ctx context.Context) string {
	var repos sourcev1.GitRepositoryList
	var apps kustomizev1.KustomizationList
	for _, list := range []client.ObjectList{&repos, &apps} {
		if err := f.env.Client.List(ctx, list, client.InNamespace(f.env.Namespace)); err != nil {
			return err.Error()
		}
	}
	var all []harness.Resource
	for i := range repos.Items {
		all = append(all, &repos.Items[i])
	}
	for i := range apps.Items {
		all = append(all, &apps.Items[i])
	}
	for _, obj := range all {
		if err := harness.Ready(obj); err != nil {
			return fmt.Sprintf("%T %s: %v", obj, obj.GetName(), err)
		}
	}
	return ""
}

// converge waits until nothing is missing and returns how long that took, and what is still missing after the time.
func (f *fleet) converge(ctx context.Context, within time.Duration) (took time.Duration, missing string) {
	began := time.Now()
	for ctx.Err() == nil {
		missing = f.missing(ctx)
		if took = time.Since(began); missing == "" || took > within {
			break
		}
		harness.Pause(ctx, 50*time.Millisecond)
	}
	return took, missing
}

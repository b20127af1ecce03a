package e2e

import (
	"flag"
	"testing"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/e2e/harness"
)

var apiGone = flag.Duration("api-gone", 20*time.Second, "how long TestAPIServerGone leaves the API server away")

// TestAPIServerGone takes the API server away, pushes meanwhile and brings it back: the cluster gets there without help.
func TestAPIServerGone(t *testing.T) {
	if world.Plane.Given() {
		t.Skip("a given API server cannot be stopped")
	}
	gone := *apiGone
	if testing.Short() {
		gone = min(gone, 5*time.Second)
	}
	e := world.Start(t, harness.Options{})
	// Nobody can ask for runs while the API server is away: the interval must do.
	f := newFleet(t, e, 3, 3, func(s *sourcev1.GitRepositorySpec) { s.Interval = metav1.Duration{Duration: 5 * time.Second} })
	if err := world.Plane.StopAPIServer(); err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(gone)
	for time.Now().Before(end) {
		for _, repo := range f.repos {
			repo.Push(t)
		}
		harness.Pause(t.Context(), time.Second)
	}
	if err := world.Plane.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	f.awaitLast(t, gone+recovery)
	t.Logf("away for %s; all at the last commit %s after it was back", gone, time.Since(back))
	wantAllAlive(t, e, 3)
	f.wantNoRegressions(t)
	wantOneHand(t, e.Runs(t))
}

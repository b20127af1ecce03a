package e2e

import (
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/e2e/harness"
)

// healing is how long it may take after the last outage of the bus until all work goes on: what was in hand when the bus went is held by
// a lock that nobody could free, or by a delivery that nobody could acknowledge, and both last as long.
const healing = 3 * lockTime

// TestBusRestart ends the bus under load, in order and by force, and starts it again: everything goes on by itself.
func TestBusRestart(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *harness.Env){
		"stopped": func(t *testing.T, e *harness.Env) { e.StopBusProcess(t) },
		"killed": func(t *testing.T, e *harness.Env) {
			if err := e.Bus().Kill(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			rng := random(t)
			e := world.Start(t, harness.Options{Replicas: 2})
			f := newFleet(t, e, 3, 3)
			stop := f.load(t, rng, pushEvery)
			for range 3 {
				harness.Pause(t.Context(), time.Duration(500+rng.IntN(1500))*time.Millisecond)
				end(t, e)
				harness.Pause(t.Context(), time.Duration(rng.IntN(2000))*time.Millisecond)
				startBus(t, e)
			}
			stop()
			f.pushAll(t)
			calm := time.Now()
			f.awaitLast(t, healing)
			t.Logf("all at the last commit %s after the end", time.Since(calm))
			wantAllAlive(t, e, 6)
			f.wantNoRegressions(t)
			wantOneHand(t, e.Runs(t))
		})
	}
}

func startBus(t *testing.T, e *harness.Env) {
	t.Helper()
	if err := e.StartBus(); err != nil {
		t.Fatal(err)
	}
}

// wantAllAlive holds that an outage ended none of so many replicas.
func wantAllAlive(t *testing.T, e *harness.Env, want int) {
	t.Helper()
	if n := len(e.Replicas("")); n != want {
		t.Errorf("%d of %d replicas run", n, want)
	}
}

// TestBusWiped takes everything from the bus: the next pushes land, and so does what needs an artifact that was lost.
func TestBusWiped(t *testing.T) {
	rng := random(t)
	e := world.Start(t, harness.Options{})
	f := newFleet(t, e, 3, 3)
	wipe := func() {
		e.StopBusProcess(t)
		if err := e.WipeBus(); err != nil {
			t.Fatal(err)
		}
		startBus(t, e)
	}
	stop := f.load(t, rng, pushEvery)
	harness.Pause(t.Context(), time.Second)
	wipe()
	harness.Pause(t.Context(), time.Second)
	stop()
	f.pushAll(t)
	calm := time.Now()
	f.awaitLast(t, healing)
	t.Logf("under load: all at the last commit %s after the end", time.Since(calm))

	t.Run("at rest", func(t *testing.T) { wipe(); wantMarked(t, e, f, "at-rest") })
	t.Run("artifacts alone", func(t *testing.T) { e.DropArtifacts(t); wantMarked(t, e, f, "artifacts-alone") })
	wantAllAlive(t, e, 3)
	f.wantNoRegressions(t)
}

// wantMarked changes the spec of every application, with no push, and awaits what comes of it in the cluster.
func wantMarked(t *testing.T, e *harness.Env, f *fleet, mark string) {
	t.Helper()
	began := time.Now()
	for _, repo := range f.repos {
		for _, app := range repo.Apps {
			harness.Change(t, e, app, func(k *kustomizev1.Kustomization) {
				k.Spec.CommonMetadata = &kustomizev1.CommonMetadata{Labels: map[string]string{"mark": mark}}
			})
		}
	}
	for _, repo := range f.repos {
		for _, app := range repo.Apps {
			wantLabel(t, e, types.NamespacedName{Namespace: e.Namespace, Name: app.Name}, mark)
			harness.AwaitReady(t, e, app, settle)
		}
	}
	t.Logf("all marked after %s", time.Since(began))
}

func wantLabel(t *testing.T, e *harness.Env, key types.NamespacedName, mark string) {
	t.Helper()
	object := &corev1.ConfigMap{}
	object.Namespace, object.Name = key.Namespace, key.Name
	harness.Await(t, e, object, recovery, "label "+mark, func(m *corev1.ConfigMap) error {
		return harness.Want("label", m.Labels["mark"], mark)
	})
}

package e2e

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/e2e/harness"
)

// TestDriftIsRepaired edits and deletes what was applied, with two replicas that both see it, and has git's state back long before
// any interval.
func TestDriftIsRepaired(t *testing.T) {
	e := world.Start(t, harness.Options{Replicas: 2})
	repo := e.NewRepo(t, "shop", 3)
	writes := e.Record(t, e.Namespace)
	writes.AwaitAll(t, repo.Want(), settle)
	app := repo.Apps[0]
	harness.AwaitReady(t, e, app, settle)
	object := &corev1.ConfigMap{}
	key := client.ObjectKey{Namespace: e.Namespace, Name: app.Name}
	if err := e.Client.Get(t.Context(), key, object); err != nil {
		t.Fatal(err)
	}
	want := object.Data
	damage := map[string]func() error{
		"edited": func() error {
			changed := object.DeepCopy()
			for k := range changed.Data {
				changed.Data[k] = "by hand"
			}
			changed.ResourceVersion = ""
			return e.Client.Update(t.Context(), changed)
		},
		"deleted": func() error { return e.Client.Delete(t.Context(), object) },
	}
	for name, do := range damage {
		if err := do(); err != nil {
			t.Fatal(err)
		}
		started := time.Now()
		harness.Until(t, settle, "repair of what was "+name, func() error {
			now := &corev1.ConfigMap{}
			if err := e.Client.Get(t.Context(), key, now); err != nil {
				return err
			}
			for k, v := range want {
				if err := harness.Want(k, now.Data[k], v); err != nil {
					return err
				}
			}
			return nil
		})
		t.Logf("%s: repaired after %s", name, time.Since(started))
		harness.AwaitReady(t, e, app, settle)
	}
}

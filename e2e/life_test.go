package e2e

import (
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/e2e/harness"
)

// TestSuspendResumeDelete follows the objects through what people do with them beside pushing.
func TestSuspendResumeDelete(t *testing.T) {
	e := world.Start(t, harness.Options{})
	f := newFleet(t, e, 2, 3)
	one, other := f.repos[0], f.repos[1]

	t.Run("requested", func(t *testing.T) { requested(t, f) })
	t.Run("suspended repository", func(t *testing.T) {
		harness.Change(t, e, one.Object, func(r *sourcev1.GitRepository) { r.Spec.Suspend = true })
		was := f.objects.Last()
		f.pushAll(t)
		f.objects.AwaitAll(t, other.Want(), settle) // asked for later than the suspended one, and done
		f.wantStill(t, one, was)
		harness.Change(t, e, one.Object, func(r *sourcev1.GitRepository) { r.Spec.Suspend = false })
		f.awaitLast(t, settle)
	})
	t.Run("suspended application", func(t *testing.T) {
		app := one.Apps[0]
		harness.Change(t, e, app, func(k *kustomizev1.Kustomization) { k.Spec.Suspend = true })
		was := f.objects.Last()[app.Name]
		f.pushAll(t)
		want := one.Want()
		delete(want, app.Name)
		f.objects.AwaitAll(t, want, settle)
		if is := f.objects.Last()[app.Name]; is != was {
			t.Errorf("%s went from %d to %d while it was suspended", app.Name, was, is)
		}
		harness.Change(t, e, app, func(k *kustomizev1.Kustomization) { k.Spec.Suspend = false })
		f.awaitLast(t, settle)
	})
	t.Run("deleted", func(t *testing.T) { deleted(t, e, one.Apps[0], true) })
	t.Run("deleted without prune", func(t *testing.T) {
		harness.Change(t, e, one.Apps[1], func(k *kustomizev1.Kustomization) { k.Spec.Prune = false })
		harness.AwaitReady(t, e, one.Apps[1], settle)
		deleted(t, e, one.Apps[1], false)
	})
	t.Run("deleted while suspended", func(t *testing.T) {
		harness.Change(t, e, one.Apps[2], func(k *kustomizev1.Kustomization) { k.Spec.Suspend = true })
		deleted(t, e, one.Apps[2], false)
	})
	t.Run("deleted repository", func(t *testing.T) {
		if err := e.Client.Delete(t.Context(), one.Object); err != nil {
			t.Fatal(err)
		}
		harness.Until(t, settle, "end of the repository", func() error { return e.IsGone(t.Context(), one.Object) })
	})
}

// requested holds that a status says which request for a run it answers, as `flux reconcile` waits for.
func requested(t *testing.T, f *fleet) {
	repo, app := f.repos[0].Object, f.repos[0].Apps[0]
	at := f.env.MustRequest(t, repo)
	harness.Await(t, f.env, repo, settle, "answer", func(r *sourcev1.GitRepository) error {
		return harness.Want("lastHandledReconcileAt", r.Status.LastHandledReconcileAt, at)
	})
	at = f.env.MustRequest(t, app)
	harness.Await(t, f.env, app, settle, "answer", func(k *kustomizev1.Kustomization) error {
		return harness.Want("lastHandledReconcileAt", k.Status.LastHandledReconcileAt, at)
	})
}

// wantStill holds that the objects of a repository are as they were.
func (f *fleet) wantStill(t *testing.T, repo *harness.Repo, was map[string]int) {
	t.Helper()
	last := f.objects.Last()
	for _, app := range repo.Apps {
		if last[app.Name] != was[app.Name] {
			t.Errorf("%s went from %d to %d", app.Name, was[app.Name], last[app.Name])
		}
	}
}

// deleted deletes an application and holds that it goes, with or without its objects.
func deleted(t *testing.T, e *harness.Env, app *kustomizev1.Kustomization, withObjects bool) {
	t.Helper()
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.Namespace, Name: app.Name}}
	if err := e.Client.Delete(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	harness.Until(t, settle, "end of the application", func() error { return e.IsGone(t.Context(), app) })
	gone := e.IsGone(t.Context(), object) == nil // the finalizer held the application until its objects were gone
	if gone != withObjects {
		t.Errorf("the application's object is gone: %t, want %t", gone, withObjects)
	}
}

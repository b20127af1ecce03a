package e2e

import (
	"strings"
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cd/sluice/e2e/harness"
	"github.com/sluice-cd/sluice/libs/gittest"
)

// TestPrune takes objects out of git, and moves one to another namespace: exactly what left git leaves the cluster.
func TestPrune(t *testing.T) {
	e := world.Start(t, harness.Options{})
	there := e.NewNamespace(t)
	files, err := e.Git.CreateRepository(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	repo := e.GitRepository(e.Namespace, "shop", e.Git.URL("shop"))
	app := e.Kustomization(e.Namespace, "shop", "shop", "./", func(s *kustomizev1.KustomizationSpec) { s.TargetNamespace = "" })
	push := func(c gittest.Commit) {
		t.Helper()
		hash, err := files.Commit(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if repo.UID == "" {
			e.Create(t, repo, app)
		} else {
			e.MustRequest(t, repo)
		}
		awaitApplied(t, e, app, hash)
	}
	push(gittest.Commit{Files: map[string]string{
		"stays.yaml": inNamespace(e.Namespace, "stays", ""), "goes.yaml": inNamespace(e.Namespace, "goes", ""),
		"moves.yaml": inNamespace(e.Namespace, "moves", ""), "kept.yaml": inNamespace(e.Namespace, "kept", "kustomize.toolkit.fluxcd.io/prune: disabled"),
	}})
	wantObjects(t, e, map[string]bool{e.Namespace + "/stays": true, e.Namespace + "/goes": true, e.Namespace + "/moves": true, e.Namespace + "/kept": true})

	push(gittest.Commit{Delete: []string{"goes.yaml", "kept.yaml"}})
	wantObjects(t, e, map[string]bool{e.Namespace + "/stays": true, e.Namespace + "/goes": false, e.Namespace + "/moves": true, e.Namespace + "/kept": true})

	push(gittest.Commit{Files: map[string]string{"moves.yaml": inNamespace(there, "moves", "")}})
	wantObjects(t, e, map[string]bool{e.Namespace + "/stays": true, e.Namespace + "/moves": false, there + "/moves": true})
	if n := len(app.Status.Inventory.Entries); n != 2 {
		t.Errorf("the inventory has %d entries, want 2: %v", n, app.Status.Inventory.Entries)
	}
}

// awaitApplied returns when an application is ready at a commit.
func awaitApplied(t *testing.T, e *harness.Env, app *kustomizev1.Kustomization, hash string) {
	t.Helper()
	harness.Await(t, e, app, settle, "commit", func(k *kustomizev1.Kustomization) error {
		if err := harness.Want("lastAppliedRevision", k.Status.LastAppliedRevision, "main@sha1:"+hash); err != nil {
			return err
		}
		return harness.Ready(k)
	})
}

func inNamespace(namespace, name, annotation string) string {
	text := "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\n  namespace: " + namespace + "\n"
	if annotation != "" {
		text += "  annotations:\n    " + annotation + "\n"
	}
	return text
}

// wantObjects holds which ConfigMaps, named namespace/name, are there.
func wantObjects(t *testing.T, e *harness.Env, want map[string]bool) {
	t.Helper()
	for name, there := range want {
		object := &corev1.ConfigMap{}
		object.Namespace, object.Name, _ = strings.Cut(name, "/")
		if is := e.IsGone(t.Context(), object) != nil; is != there {
			t.Errorf("%s is there: %t, want %t", name, is, there)
		}
	}
}

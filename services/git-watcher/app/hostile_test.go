package app

import (
	"testing"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/libs/gittest"
)

// One object with a value that nobody can read must not stop the others: either
// the API server refuses it, or it is passed over.
func TestBadValuesStopNobody(t *testing.T) {
	w := newWorld(t, gittest.Options{}, nil)
	r := w.repository("app", "a", "1")
	w.create("app", nil)
	w.ready("app", "")
	for name, spec := range map[string]map[string]any{
		"year": {"interval": "1y"}, "overflow": {"interval": "99999999999h"}, "negative": {"interval": "-5s"}, "word": {"interval": "soon"},
		"digits": {"interval": "1m", "timeout": "9999999999999999999999m"}, "fraction": {"interval": "0.0000000000000000000000001ms"}, "nothing": {"interval": "0s"},
	} {
		bad := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"url": w.server.URL("app")}}}
		bad.SetGroupVersionKind(sourcev1.GroupVersion.WithKind(sourcev1.GitRepositoryKind))
		bad.SetNamespace(w.ns)
		bad.SetName(name)
		bad.SetLabels(map[string]string{"test": w.ns})
		for field, value := range spec {
			w.do(unstructured.SetNestedField(bad.Object, value, "spec", field))
		}
		err := w.cluster.Client.Create(t.Context(), bad)
		if valid := name == "nothing" || name == "fraction"; valid == apierrors.IsInvalid(err) || err != nil && !apierrors.IsInvalid(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.repository("later", "b", "1")
	w.create("later", nil)
	w.ready("later", "")
	head := w.commit(r, "a", "2")
	w.change("app", func(r *sourcev1.GitRepository) { r.Spec.Ignore = new(string) })
	w.ready("app", head)
	// And a new start finds them all.
	var list sourcev1.GitRepositoryList
	if err := w.cluster.Client.List(t.Context(), &list); err != nil {
		t.Fatal("nobody could start any more:", err)
	}
}

package handler

import (
	"strings"
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"github.com/sluice-cd/sluice/libs/state"
)

// Where references between namespaces are forbidden, the source of another one is not looked at, whether it is there or not.
func TestSourceOfAnotherNamespace(t *testing.T) {
	w := newWorld(t)
	w.handler.NoCrossNamespaceRefs = true
	w.kustomization("thief", "app", func(s *kustomizev1.KustomizationSpec) { s.SourceRef.Namespace = "kube-system" })
	w.kustomization("own", "app", func(s *kustomizev1.KustomizationSpec) { s.SourceRef.Namespace = w.namespace })
	w.start()
	revision := w.push(map[string]string{"app/a.yaml": configMap("a", "b")})
	w.await("own", at(revision))
	failed := w.await("thief", func(r state.Rendered) bool { return r.Reason != "" && r.Told })
	if failed.Reason != "AccessDenied" || !strings.Contains(failed.Message, "cross-namespace references have been blocked") || failed.Set != "" {
		t.Errorf("got %+v", failed)
	}
}

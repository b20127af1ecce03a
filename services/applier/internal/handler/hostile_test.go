package handler

import (
	"strings"
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Where references between namespaces are forbidden, a dependency in another one is not looked at, whether it is there or not.
func TestDependencyOfAnotherNamespace(t *testing.T) {
	w := newWorld(t, func(a *Applier) { a.NoCrossNamespaceRefs = true })
	w.create("app", func(k *kustomizev1.Kustomization) {
		k.Spec.DependsOn = []kustomizev1.DependencyReference{{Namespace: "kube-system", Name: "base"}}
	})
	w.push("app", "main@sha1:1", configMap("app", "1"))
	k := w.untilReady("app", "main@sha1:1", metav1.ConditionFalse)
	ready := condition(k, meta.ReadyCondition)
	if ready.Reason != meta.DependencyNotReadyReason || !strings.Contains(ready.Message, "cross-namespace references have been blocked") {
		t.Errorf("%s: %s", ready.Reason, ready.Message)
	}
	if w.configMap("app") != nil {
		t.Error("applied all the same")
	}
}

package kube

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func kustomization(change func(*kustomizev1.Kustomization)) *kustomizev1.Kustomization {
	k := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "web", UID: "1", Generation: 2, Annotations: map[string]string{
		meta.ReconcileRequestAnnotation: "t1", "sluice.dev/hold": "yes", "other": "x",
	}}}
	k.Status.ObservedGeneration, k.Status.LastHandledReconcileAt = 2, "t1"
	if change != nil {
		change(k)
	}
	return k
}

func TestWhatWakes(t *testing.T) {
	now := metav1.NewTime(time.Unix(1, 0))
	for name, c := range map[string]struct {
		change    func(*kustomizev1.Kustomization)
		wantCause string
		wantRun   bool // when the object is met at start
	}{
		"nothing":            {func(*kustomizev1.Kustomization) {}, "", false},
		"status":             {func(k *kustomizev1.Kustomization) { k.Status.LastAppliedRevision = "new" }, "", false},
		"label":              {func(k *kustomizev1.Kustomization) { k.Labels = map[string]string{"a": "b"} }, "", false},
		"foreign annotation": {func(k *kustomizev1.Kustomization) { k.Annotations["other"] = "y" }, "", false},
		"our annotation":     {func(k *kustomizev1.Kustomization) { k.Annotations["sluice.dev/hold"] = "no" }, "changed", false},
		"spec":               {func(k *kustomizev1.Kustomization) { k.Generation = 3 }, "changed", true},
		"request":            {func(k *kustomizev1.Kustomization) { k.Annotations[meta.ReconcileRequestAnnotation] = "t2" }, "requested", true},
		"deletion":           {func(k *kustomizev1.Kustomization) { k.DeletionTimestamp = &now }, "deleted", true},
		"made anew":          {func(k *kustomizev1.Kustomization) { k.UID = "2"; k.Status.ObservedGeneration = 0 }, "created", true},
	} {
		t.Run(name, func(t *testing.T) {
			is := kustomization(c.change)
			if got := changed(kustomization(nil), is); got != c.wantCause {
				t.Errorf("changed = %q; want %q", got, c.wantCause)
			}
			if got := needsRun(is, KustomizationHandled); got != c.wantRun {
				t.Errorf("needsRun = %v; want %v", got, c.wantRun)
			}
		})
	}
}

func TestConditionsAsFluxWritesThem(t *testing.T) {
	var conditions []metav1.Condition
	state := func() string {
		var parts []string
		for _, kind := range []string{meta.ReadyCondition, meta.ReconcilingCondition, meta.StalledCondition} {
			for _, c := range conditions {
				if c.Type == kind {
					parts = append(parts, c.Type+"="+string(c.Status)+"/"+c.Reason)
				}
			}
		}
		return strings.Join(parts, " ")
	}
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() { MarkProgressing(&conditions, 1, "m") }, "Ready=Unknown/Progressing Reconciling=True/Progressing"},
		{func() { MarkFailed(&conditions, 1, "BuildFailed", "m", false) }, "Ready=False/BuildFailed Reconciling=True/ProgressingWithRetry"},
		{func() { MarkFailed(&conditions, 1, "URLInvalid", "m", true) }, "Ready=False/URLInvalid Stalled=True/URLInvalid"},
		{func() { MarkFailed(&conditions, 1, "BuildFailed", "m", false) }, "Ready=False/BuildFailed Reconciling=True/ProgressingWithRetry"},
		{func() { MarkReady(&conditions, 1, "ReconciliationSucceeded", "m") }, "Ready=True/ReconciliationSucceeded"},
	} {
		if step.do(); state() != step.want {
			t.Errorf("conditions are %s; want %s", state(), step.want)
		}
	}
}

func TestClipKeepsWholeCharacters(t *testing.T) {
	long := strings.Repeat("ü", 100)
	for n := 10; n < 20; n++ {
		if got := clip(long, n); len(got) > n || !utf8.ValidString(got) || !strings.HasSuffix(got, "…") {
			t.Errorf("clip to %d gives %q", n, got)
		}
	}
	if got := clip("short", 10); got != "short" {
		t.Errorf("clip changed a short text to %q", got)
	}
}

func TestSourceAndDependenciesDefaultToTheOwnNamespace(t *testing.T) {
	k := kustomization(func(k *kustomizev1.Kustomization) {
		k.Spec.SourceRef.Name = "repo"
		k.Spec.DependsOn = []kustomizev1.DependencyReference{{Name: "a"}, {Name: "b", Namespace: "infra"}}
	})
	if got, want := SourceOf(k), (types.NamespacedName{Namespace: "apps", Name: "repo"}); got != want {
		t.Errorf("SourceOf = %v; want %v", got, want)
	}
	deps := Dependencies(k)
	if len(deps) != 2 || deps[0].String() != "apps/a" || deps[1].String() != "infra/b" {
		t.Errorf("Dependencies = %v", deps)
	}
}

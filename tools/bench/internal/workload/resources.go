package workload

import (
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// FleetNamespace holds the custom resources.
	FleetNamespace = "fleet"
	// RepositoryName is the name of the GitRepository.
	RepositoryName = "fleet"
	// Branch is the one it follows.
	Branch = "main"
)

// GitRepository follows the repository at a URL.
func GitRepository(url string, interval time.Duration) *sourcev1.GitRepository {
	return &sourcev1.GitRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: FleetNamespace, Name: RepositoryName},
		Spec: sourcev1.GitRepositorySpec{
			URL: url, Interval: metav1.Duration{Duration: interval}, Reference: &sourcev1.GitRepositoryRef{Branch: Branch},
		},
	}
}

// Kustomization applies a path of the repository.
func Kustomization(name, path string, interval time.Duration) *kustomizev1.Kustomization {
	return &kustomizev1.Kustomization{
		ObjectMeta: metav1.ObjectMeta{Namespace: FleetNamespace, Name: name},
		Spec: kustomizev1.KustomizationSpec{
			Interval: metav1.Duration{Duration: interval}, Path: path, Prune: true,
			SourceRef: kustomizev1.CrossNamespaceSourceReference{Kind: sourcev1.GitRepositoryKind, Name: RepositoryName},
		},
	}
}

// Chain are Kustomizations of which each depends on the one after it, so that creating them in this order is the wrong one. All
// apply the base, each into the namespace of its own name.
func Chain(prefix string, links int, interval time.Duration) []*kustomizev1.Kustomization {
	names := make([]string, links)
	for i := range names {
		names[i] = prefix + "-" + string(rune('a'+i))
	}
	chain := make([]*kustomizev1.Kustomization, links)
	for i, name := range names {
		chain[i] = Kustomization(name, PlainPath, interval)
		chain[i].Spec.TargetNamespace = name
		if i+1 < links {
			chain[i].Spec.DependsOn = []kustomizev1.DependencyReference{{Name: names[i+1]}}
		}
	}
	return chain
}

// IsReady says whether a Kustomization is ready at a revision and its status is that of its spec; any revision when that is empty.
func IsReady(k *kustomizev1.Kustomization, revision string) bool {
	if k.Status.ObservedGeneration != k.Generation || revision != "" && k.Status.LastAppliedRevision != revision {
		return false
	}
	c := Condition(k, meta.ReadyCondition)
	return c != nil && c.Status == metav1.ConditionTrue
}

// Condition returns a condition by its type, or nil.
func Condition(k *kustomizev1.Kustomization, kind string) *metav1.Condition {
	for i := range k.Status.Conditions {
		if k.Status.Conditions[i].Type == kind {
			return &k.Status.Conditions[i]
		}
	}
	return nil
}

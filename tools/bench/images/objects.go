package main

import (
	"time"

	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func object(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

// hour is an interval that ends after the benchmark.
var hour = metav1.Duration{Duration: time.Hour}

func imageRepository(host, name string) *imagev1.ImageRepository {
	return &imagev1.ImageRepository{ObjectMeta: object(name), Spec: imagev1.ImageRepositorySpec{Image: host + "/" + name, Interval: hour}}
}

// imageRepositories follow images of a registry.
func imageRepositories(in catalog, names []string) []client.Object {
	objects := make([]client.Object, len(names))
	for i, name := range names {
		objects[i] = imageRepository(in.host(), name)
	}
	return objects
}

func isScanned(o client.Object) bool {
	repo, is := o.(*imagev1.ImageRepository)
	return is && apimeta.IsStatusConditionTrue(repo.Status.Conditions, meta.ReadyCondition) && repo.Status.LastHandledReconcileAt == repo.Annotations[meta.ReconcileRequestAnnotation]
}

func policy(image string) *imagev1.ImagePolicy {
	return &imagev1.ImagePolicy{ObjectMeta: object(image), Spec: imagev1.ImagePolicySpec{
		ImageRepositoryRef: meta.NamespacedObjectReference{Name: image},
		Policy:             imagev1.ImagePolicyChoice{SemVer: &imagev1.SemVerPolicy{Range: ">=1.0.0"}},
	}}
}

// newestPolicy chooses the image that was built last.
func newestPolicy(image string) *imagev1.ImagePolicy {
	p := policy(image)
	p.Annotations = map[string]string{"sluice.dev/order": "newest"}
	return p
}

func gitRepository(name, url string) client.Object {
	return &sourcev1.GitRepository{ObjectMeta: object(name), Spec: sourcev1.GitRepositorySpec{
		URL: url, Interval: hour, Reference: &sourcev1.GitRepositoryRef{Branch: "main"},
	}}
}

func automation(source string) client.Object {
	return &automationv1.ImageUpdateAutomation{ObjectMeta: object(source), Spec: automationv1.ImageUpdateAutomationSpec{
		SourceRef: automationv1.CrossNamespaceSourceReference{Kind: sourcev1.GitRepositoryKind, Name: source},
		Interval:  hour,
		GitSpec:   &automationv1.GitSpec{Commit: automationv1.CommitSpec{Author: automationv1.CommitUser{Name: "Sluice", Email: "sluice@example.com"}}},
		Update:    &automationv1.UpdateStrategy{Path: "./apps", Strategy: automationv1.UpdateStrategySetters},
	}}
}

package door

import (
	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Served are the kinds whose objects the stages of Sluice wake, by group and kind: Receivers may name them by an older version. The value is
// the version that the cache has.
var Served = map[schema.GroupKind]schema.GroupVersionKind{
	{Group: sourcev1.GroupVersion.Group, Kind: sourcev1.GitRepositoryKind}:                 sourcev1.GroupVersion.WithKind(sourcev1.GitRepositoryKind),
	{Group: kustomizev1.GroupVersion.Group, Kind: kustomizev1.KustomizationKind}:           kustomizev1.GroupVersion.WithKind(kustomizev1.KustomizationKind),
	{Group: imagev1.GroupVersion.Group, Kind: imagev1.ImageRepositoryKind}:                 imagev1.GroupVersion.WithKind(imagev1.ImageRepositoryKind),
	{Group: imagev1.GroupVersion.Group, Kind: imagev1.ImagePolicyKind}:                     imagev1.GroupVersion.WithKind(imagev1.ImagePolicyKind),
	{Group: automationv1.GroupVersion.Group, Kind: automationv1.ImageUpdateAutomationKind}: automationv1.GroupVersion.WithKind(automationv1.ImageUpdateAutomationKind),
}

// GVK is the kind of an entry's objects, and whether the stages of Sluice wake them. An error is that of its apiVersion.
func (r *Resource) GVK() (gvk schema.GroupVersionKind, served bool, err error) {
	gv, err := schema.ParseGroupVersion(r.APIVersion)
	if err != nil {
		return gvk, false, err
	}
	gvk = gv.WithKind(r.Kind)
	if present, served := Served[gvk.GroupKind()]; served {
		return present, true, nil
	}
	return gvk, false, nil
}

package kube

import (
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// coreMapper knows ConfigMaps and Secrets by heart, so that a cache that is told about them can be made while the API server is away.
type coreMapper struct {
	apimeta.RESTMapper
	core *apimeta.DefaultRESTMapper
}

func newCoreMapper(rest apimeta.RESTMapper) coreMapper {
	core := apimeta.NewDefaultRESTMapper([]schema.GroupVersion{corev1.SchemeGroupVersion})
	for _, kind := range []string{"ConfigMap", "Secret"} {
		core.Add(corev1.SchemeGroupVersion.WithKind(kind), apimeta.RESTScopeNamespace)
	}
	return coreMapper{rest, core}
}

// RESTMapping asks the API server for all but what is known.
func (m coreMapper) RESTMapping(kind schema.GroupKind, versions ...string) (*apimeta.RESTMapping, error) {
	if known, err := m.core.RESTMapping(kind, versions...); err == nil {
		return known, nil
	}
	return m.RESTMapper.RESTMapping(kind, versions...)
}

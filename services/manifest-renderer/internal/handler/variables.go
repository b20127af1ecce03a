package handler

import (
	"context"
	"fmt"
	"maps"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

// variables reads what postBuild.substituteFrom names, in order: later ones win.
func (h *Handler) variables(ctx context.Context, k *kustomizev1.Kustomization) (map[string]string, error) {
	if k.Spec.PostBuild == nil {
		return nil, nil
	}
	variables := map[string]string{}
	for _, ref := range k.Spec.PostBuild.SubstituteFrom {
		key := types.NamespacedName{Namespace: k.Namespace, Name: ref.Name}
		values, err := h.values(ctx, ref.Kind, key)
		switch {
		case apierrors.IsNotFound(err) && ref.Optional:
		case apierrors.IsNotFound(err):
			return nil, fault(meta.BuildFailedReason, "substitute from %s '%s': not found", ref.Kind, key)
		case err != nil:
			return nil, fmt.Errorf("substitute from %s %s: %w", ref.Kind, key, err)
		default:
			maps.Copy(variables, values)
		}
	}
	return variables, nil
}

func (h *Handler) values(ctx context.Context, kind string, key types.NamespacedName) (map[string]string, error) {
	if kind == "Secret" {
		data, err := h.Cluster.Secret(ctx, key)
		values := make(map[string]string, len(data))
		for name, value := range data {
			values[name] = string(value)
		}
		return values, err
	}
	var m corev1.ConfigMap
	err := h.Cluster.Client.Get(ctx, key, &m)
	return m.Data, err
}

package kube

import (
	"context"
	"fmt"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/stage"
	hintsv1 "github.com/sluice-cd/sluice/proto/hints/v1"
)

// Hinted returns the objects of a kind that a hint names and the cache holds: others are not served here, by the watch label selector, or
// not yet, and then their coming wakes. obj is of the kind, and is written to.
func (c *Cluster) Hinted(ctx context.Context, h *hintsv1.Hint, kind string, obj client.Object) ([]types.NamespacedName, error) {
	var known []types.NamespacedName
	for _, key := range stage.Named(h, kind) {
		err := c.Cache.Get(ctx, key, obj)
		switch {
		case err == nil:
			known = append(known, key)
		case !apierrors.IsNotFound(err):
			return nil, fmt.Errorf("look for %s %s: %w", kind, key, err)
		}
	}
	return known, nil
}

// HintedKustomizations returns the Kustomizations that a hint names.
func (c *Cluster) HintedKustomizations(ctx context.Context, h *hintsv1.Hint) ([]types.NamespacedName, error) {
	return c.Hinted(ctx, h, kustomizev1.KustomizationKind, &kustomizev1.Kustomization{})
}

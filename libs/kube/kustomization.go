package kube

import (
	"context"
	"fmt"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
)

// KustomizationHandled reads from a Kustomization's status what it answers.
func KustomizationHandled(obj client.Object) (int64, string) {
	k, ok := obj.(*kustomizev1.Kustomization)
	if !ok {
		return 0, ""
	}
	return k.Status.ObservedGeneration, k.Status.LastHandledReconcileAt
}

// Kustomizations lists the Kustomizations in the cache.
func (c *Cluster) Kustomizations(ctx context.Context) ([]types.NamespacedName, error) {
	return keysOf(c.listKustomizations(ctx))
}

const (
	sourceIndex     = "source"
	dependencyIndex = "dependency"
)

// IndexSources lets Followers find Kustomizations by their source. It must be called before the cache starts.
func IndexSources(ctx context.Context, c *Cluster) error {
	return c.index(ctx, sourceIndex, func(k *kustomizev1.Kustomization) []string {
		return []string{sourceKey(k.Spec.SourceRef.Kind, SourceOf(k))}
	})
}

// IndexDependencies lets Dependants find Kustomizations by what they depend on. It must be called before the cache starts.
func IndexDependencies(ctx context.Context, c *Cluster) error {
	return c.index(ctx, dependencyIndex, func(k *kustomizev1.Kustomization) []string {
		var keys []string
		for _, d := range Dependencies(k) {
			keys = append(keys, d.String())
		}
		return keys
	})
}

func (c *Cluster) index(ctx context.Context, name string, keys func(*kustomizev1.Kustomization) []string) error {
	err := c.Cache.IndexField(ctx, &kustomizev1.Kustomization{}, name, func(o client.Object) []string {
		k, ok := o.(*kustomizev1.Kustomization)
		if !ok {
			return nil
		}
		return keys(k)
	})
	if err != nil {
		return fmt.Errorf("index kustomizations by %s: %w", name, err)
	}
	return nil
}

// SourceOf names the object that a Kustomization takes its files from.
func SourceOf(k *kustomizev1.Kustomization) types.NamespacedName {
	key := types.NamespacedName{Namespace: k.Spec.SourceRef.Namespace, Name: k.Spec.SourceRef.Name}
	if key.Namespace == "" {
		key.Namespace = k.Namespace
	}
	return key
}

// Dependencies names the Kustomizations that must be ready before k is applied.
func Dependencies(k *kustomizev1.Kustomization) []types.NamespacedName {
	keys := make([]types.NamespacedName, len(k.Spec.DependsOn))
	for i, d := range k.Spec.DependsOn {
		keys[i] = types.NamespacedName{Namespace: d.Namespace, Name: d.Name}
		if d.Namespace == "" {
			keys[i].Namespace = k.Namespace
		}
	}
	return keys
}

// Follower is a Kustomization that takes its files from a source, and where it begins to read.
type Follower struct {
	Key  types.NamespacedName
	Path string
}

// Followers lists the Kustomizations in the cache that take their files from a source.
func (c *Cluster) Followers(ctx context.Context, kind string, source types.NamespacedName) ([]Follower, error) {
	return c.listKustomizations(ctx, client.MatchingFields{sourceIndex: sourceKey(kind, source)})
}

// Dependants lists the Kustomizations in the cache that depend on another.
func (c *Cluster) Dependants(ctx context.Context, on types.NamespacedName) ([]types.NamespacedName, error) {
	return keysOf(c.listKustomizations(ctx, client.MatchingFields{dependencyIndex: on.String()}))
}

func sourceKey(kind string, key types.NamespacedName) string { return kind + "/" + key.String() }

func (c *Cluster) listKustomizations(ctx context.Context, opts ...client.ListOption) ([]Follower, error) {
	var list kustomizev1.KustomizationList
	opts = append(opts, client.UnsafeDisableDeepCopy) // only names are read
	if err := c.Cache.List(ctx, &list, opts...); err != nil {
		return nil, fmt.Errorf("list kustomizations: %w", err)
	}
	found := make([]Follower, len(list.Items))
	for i := range list.Items {
		found[i] = Follower{client.ObjectKeyFromObject(&list.Items[i]), list.Items[i].Spec.Path}
	}
	return found, nil
}

func keysOf(found []Follower, err error) ([]types.NamespacedName, error) {
	keys := make([]types.NamespacedName, len(found))
	for i, f := range found {
		keys[i] = f.Key
	}
	return keys, err
}

// KustomizationReference names a Kustomization in a fact.
func KustomizationReference(k *kustomizev1.Kustomization) *factsv1.ObjectReference {
	return &factsv1.ObjectReference{
		ApiVersion: kustomizev1.GroupVersion.String(), Kind: kustomizev1.KustomizationKind,
		Namespace: k.Namespace, Name: k.Name, Uid: string(k.UID), Generation: k.Generation,
	}
}

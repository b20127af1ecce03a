package kube

import (
	"context"
	"fmt"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/stage"
)

// watchLabel is the label by which a ConfigMap or Secret asks to wake, on each change, the objects that refer to it.
const watchLabel, watchEnabled = "reconcile.fluxcd.io/watch", "Enabled"

// The indexes of Kustomizations by the ConfigMaps and Secrets that their render reads, and by those that describe their cluster.
const referenceIndex, clusterIndex = "reference", "cluster"

// referenced restricts what the cache holds of ConfigMaps and Secrets to those that ask for it.
func referenced() map[client.Object]cache.ByObject {
	asking := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{watchLabel: watchEnabled})}
	return map[client.Object]cache.ByObject{&corev1.ConfigMap{}: asking, &corev1.Secret{}: asking}
}

// IndexReferences lets WatchReferences find Kustomizations by the ConfigMaps and Secrets that their render reads. It must be called before
// the cache starts.
func IndexReferences(ctx context.Context, c *Cluster) error {
	return c.index(ctx, referenceIndex, references)
}

// IndexClusters lets WatchClusters find Kustomizations by what describes the cluster that they are applied to. It must be called before the
// cache starts.
func IndexClusters(ctx context.Context, c *Cluster) error {
	return c.index(ctx, clusterIndex, descriptions)
}

func references(k *kustomizev1.Kustomization) []string {
	var keys []string
	if k.Spec.PostBuild != nil {
		for _, ref := range k.Spec.PostBuild.SubstituteFrom {
			keys = append(keys, referenceKey(k, ref.Kind, ref.Name))
		}
	}
	if d := k.Spec.Decryption; d != nil && d.SecretRef != nil {
		keys = append(keys, referenceKey(k, "Secret", d.SecretRef.Name))
	}
	return keys
}

func descriptions(k *kustomizev1.Kustomization) []string {
	switch c := k.Spec.KubeConfig; {
	case c == nil:
		return nil
	case c.ConfigMapRef != nil:
		return []string{referenceKey(k, "ConfigMap", c.ConfigMapRef.Name)}
	case c.SecretRef != nil:
		return []string{referenceKey(k, "Secret", c.SecretRef.Name)}
	}
	return nil
}

func referenceKey(k *kustomizev1.Kustomization, kind, name string) string {
	return sourceKey(kind, types.NamespacedName{Namespace: k.Namespace, Name: name})
}

// WatchReferences wakes Kustomizations when a ConfigMap or Secret changes that they read and that has the label reconcile.fluxcd.io/watch:
// Enabled. Of these objects only the metadata is watched and kept. At start all that read one are woken: a change may have been missed.
func (c *Cluster) WatchReferences(ctx context.Context, w Waker) error {
	return c.watchReferences(ctx, referenceIndex, w)
}

// WatchClusters does so for what describes the cluster that a Kustomization is applied to.
func (c *Cluster) WatchClusters(ctx context.Context, w Waker) error {
	return c.watchReferences(ctx, clusterIndex, w)
}

func (c *Cluster) watchReferences(ctx context.Context, index string, w Waker) error {
	for _, kind := range []string{"ConfigMap", "Secret"} {
		obj := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kind}}
		informer, err := c.Cache.GetInformer(ctx, obj, cache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("watch %ss: %w", kind, err)
		}
		wake := func(o any) { c.wakeReferrers(ctx, index, kind, o, w) }
		_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: wake, DeleteFunc: wake, UpdateFunc: func(before, after any) {
			was, ok1 := before.(client.Object)
			is, ok2 := after.(client.Object)
			if ok1 && ok2 && was.GetResourceVersion() != is.GetResourceVersion() {
				wake(after)
			}
		}})
		if err != nil {
			return fmt.Errorf("watch %ss: %w", kind, err)
		}
	}
	return nil
}

func (c *Cluster) wakeReferrers(ctx context.Context, index, kind string, o any, w Waker) {
	if tomb, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		o = tomb.Obj
	}
	obj, ok := o.(client.Object)
	if !ok {
		return
	}
	found, err := c.listKustomizations(ctx, client.MatchingFields{index: sourceKey(kind, client.ObjectKeyFromObject(obj))})
	if err != nil {
		c.log.Warn("cannot find who reads a changed object, they run at their interval", "kind", kind, "object", client.ObjectKeyFromObject(obj).String(), "err", err)
		return
	}
	for _, k := range found {
		w.Trigger(ctx, k.Key, stage.Hint{Cause: "reference"})
	}
}

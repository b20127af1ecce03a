package kube

import (
	"context"
	"fmt"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
)

// Finalizer is the one that Flux puts on its objects, and we on those whose deletion means work.
const Finalizer = "finalizers.fluxcd.io"

// FieldManager is our name in the managed fields of what we write.
const FieldManager = "sluice"

// PatchStatus writes what of the status differs between before and after, if anything, and says whether it wrote. It is refused with
// a conflict when the object is another than before: then read it again and decide again.
func (c *Cluster) PatchStatus(ctx context.Context, before, after client.Object) (bool, error) {
	if apiequality.Semantic.DeepEqual(before, after) {
		return false, nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := c.Client.Status().Patch(ctx, after, patch, client.FieldOwner(FieldManager)); err != nil {
		return false, fmt.Errorf("write status: %w", err)
	}
	return true, nil
}

// AddFinalizer keeps an object from going before RemoveFinalizer. It says nothing when the finalizer is there already.
func (c *Cluster) AddFinalizer(ctx context.Context, obj client.Object) error {
	before := obj.DeepCopyObject().(client.Object)
	if !controllerutil.AddFinalizer(obj, Finalizer) {
		return nil
	}
	return c.patchMeta(ctx, before, obj, "add finalizer")
}

// RemoveFinalizer lets an object go. An object that is gone already is fine.
func (c *Cluster) RemoveFinalizer(ctx context.Context, obj client.Object) error {
	before := obj.DeepCopyObject().(client.Object)
	if !controllerutil.RemoveFinalizer(obj, Finalizer) {
		return nil
	}
	return client.IgnoreNotFound(c.patchMeta(ctx, before, obj, "remove finalizer"))
}

// patchMeta names the version of the object that it changes: a merge patch replaces the whole list of finalizers.
func (c *Cluster) patchMeta(ctx context.Context, before, obj client.Object, doing string) error {
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := c.Client.Patch(ctx, obj, patch, client.FieldOwner(FieldManager)); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

// IsConflict says whether err is the refusal of a write to an object that somebody else changed meanwhile.
func IsConflict(err error) bool { return apierrors.IsConflict(err) }

// IsMissingOrForbidden says whether err is the answer that an object is not there or may not be read, rather than none.
func IsMissingOrForbidden(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.IsForbidden(err)
}

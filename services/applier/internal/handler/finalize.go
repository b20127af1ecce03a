package handler

import (
	"context"
	"fmt"
	"slices"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/stage"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
	"github.com/sluice-cd/sluice/services/applier/internal/apply"
	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

// finalize removes a deleted Kustomization's objects from the cluster where its deletion policy wants that, and lets it go.
func (a *Applier) finalize(ctx context.Context, j *job) (stage.Result, error) {
	if !slices.Contains(j.k.Finalizers, kube.Finalizer) {
		return stage.Result{Gone: true}, nil
	}
	if prunesWhenDeleted(j.k) {
		gone, err := a.pruneDeleted(ctx, j)
		if err != nil {
			a.Events.Warning(j.k, j.k.Status.LastAppliedRevision, meta.PruneFailedReason, err.Error())
			return stage.Result{}, fmt.Errorf("prune deleted kustomization: %w", err)
		}
		if !gone {
			return stage.Result{Next: time.Second, Exact: true}, nil
		}
	}
	if err := j.run.Guard(); err != nil {
		return stage.Result{}, err
	}
	if err := a.Cluster.RemoveFinalizer(ctx, j.k); err != nil {
		return stage.Result{}, err
	}
	return stage.Result{Gone: true}, nil
}

func prunesWhenDeleted(k *kustomizev1.Kustomization) bool {
	if k.Spec.Suspend {
		return false
	}
	switch k.GetDeletionPolicy() {
	case kustomizev1.DeletionPolicyOrphan:
		return false
	case kustomizev1.DeletionPolicyDelete, kustomizev1.DeletionPolicyWaitForTermination:
		return true
	}
	return k.Spec.Prune
}

// pruneDeleted deletes the objects of a deleted Kustomization and says whether it may go. It may also when its objects do not go in
// time, and when nobody is left as whom they could be deleted.
func (a *Applier) pruneDeleted(ctx context.Context, j *job) (gone bool, err error) {
	missing, err := a.accountMissing(ctx, j.k)
	if err != nil {
		return false, err
	}
	if missing {
		a.Events.Warning(j.k, j.k.Status.LastAppliedRevision, meta.PruneFailedReason, "objects are left in the cluster: the service account to delete them with is gone")
		return true, nil
	}
	gone, err = a.pruneAll(ctx, j)
	if err == nil && !gone && time.Since(j.k.DeletionTimestamp.Time) > a.timeoutOf(j.k) {
		a.Events.Warning(j.k, j.k.Status.LastAppliedRevision, meta.PruneFailedReason, "objects are still being deleted, and are not waited for any longer")
		return true, nil
	}
	return gone, err
}

// accountMissing says whether the service account to impersonate in this cluster does not exist.
func (a *Applier) accountMissing(ctx context.Context, k *kustomizev1.Kustomization) (bool, error) {
	name := a.account(k)
	if name == "" || k.Spec.KubeConfig != nil {
		return false, nil
	}
	err := a.Cluster.Client.Get(ctx, types.NamespacedName{Namespace: k.Namespace, Name: name}, &corev1.ServiceAccount{})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	return false, err
}

// pruneAll deletes everything that may be in the cluster because of the Kustomization, and says whether no more is to be waited for.
func (a *Applier) pruneAll(ctx context.Context, j *job) (gone bool, err error) {
	old, err := j.oldInventory()
	if err != nil {
		return false, err
	}
	engine, err := a.engine(ctx, j.k)
	if err != nil {
		return false, err
	}
	result, err := engine.Prune(ctx, old, inventory.Inventory{}, apply.Options{Owner: apply.Owner{Name: j.k.Name, Namespace: j.k.Namespace}, Guard: j.run.Guard})
	if err != nil {
		return false, err
	}
	if deleted := changes(result.Changes); len(deleted) > 0 {
		fact := j.fact("pruned")
		fact.Revision = j.k.Status.LastAppliedRevision
		fact.Kind = &factsv1.Fact_Pruned{Pruned: &factsv1.Pruned{Objects: references(deleted), ObjectCount: int32(len(deleted))}}
		if err := j.run.Tell(ctx, fact); err != nil {
			return false, err
		}
		a.Events.Normal(j.k, j.k.Status.LastAppliedRevision, "Pruned", fmt.Sprintf("Pruned %d objects", len(deleted))+lines(deleted))
	}
	if j.k.GetDeletionPolicy() != kustomizev1.DeletionPolicyWaitForTermination {
		return true, nil
	}
	left, err := engine.Terminating(ctx, old)
	return left.Len() == 0, err
}

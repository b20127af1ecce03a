package handler

import (
	"context"
	"fmt"
	"slices"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

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
		gone, err := a.pruneAll(ctx, j)
		if err != nil {
			return stage.Result{}, err
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
	case kustomizev1.DeletionPolicyDelete:
		return true
	}
	return k.Spec.Prune
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
		a.Events.Warning(j.k, j.k.Status.LastAppliedRevision, meta.PruneFailedReason, err.Error())
		return false, fmt.Errorf("prune deleted kustomization: %w", err)
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

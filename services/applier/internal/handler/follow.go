package handler

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/services/applier/internal/apply"
	"github.com/sluice-cd/sluice/services/applier/internal/health"
	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
	"github.com/sluice-cd/sluice/services/applier/internal/live"
)

// FollowObjects makes the watcher of what was applied, by the Kustomizations in the cache. It wakes those of which objects drifted or
// changed their health. Its Run must be called once the cache is filled.
func (a *Applier) FollowObjects(ctx context.Context, log *slog.Logger, w kube.Waker) (*Watchers, error) {
	watchers, err := a.newWatchers(log, func(ctx context.Context, key types.NamespacedName) time.Duration { return a.check(ctx, log, w, key) })
	if err != nil {
		return nil, err
	}
	informer, err := a.Cluster.Cache.GetInformer(ctx, &kustomizev1.Kustomization{})
	if err != nil {
		return nil, fmt.Errorf("watch kustomizations: %w", err)
	}
	a.watchers = watchers
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { a.noteKustomization(nil, o) },
		UpdateFunc: func(before, after any) { a.noteKustomization(before, after); wakeAcknowledged(ctx, w, before, after) },
		DeleteFunc: func(o any) {
			if tomb, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = tomb.Obj
			}
			if obj, ok := o.(client.Object); ok {
				watchers.forget(client.ObjectKeyFromObject(obj))
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("watch kustomizations: %w", err)
	}
	return watchers, nil
}

// wakeAcknowledged wakes a Kustomization of which a prune was acknowledged, or the guard switched.
func wakeAcknowledged(ctx context.Context, w kube.Waker, before, after any) {
	was, ok1 := before.(*kustomizev1.Kustomization)
	is, ok2 := after.(*kustomizev1.Kustomization)
	if !ok1 || !ok2 {
		return
	}
	for _, name := range []string{AnnotationPruneAck, AnnotationPruneGuard} {
		if was.Annotations[name] != is.Annotations[name] {
			w.Trigger(ctx, client.ObjectKeyFromObject(is), stage.Hint{Cause: "acknowledged"})
			return
		}
	}
}

// noteKustomization sets what is watched for a Kustomization, where that may be another than before.
func (a *Applier) noteKustomization(before, after any) {
	is, ok := after.(*kustomizev1.Kustomization)
	if !ok {
		return
	}
	if was, ok := before.(*kustomizev1.Kustomization); ok && was.Generation == is.Generation && was.UID == is.UID &&
		was.DeletionTimestamp.Equal(is.DeletionTimestamp) && apiequality.Semantic.DeepEqual(was.Status.Inventory, is.Status.Inventory) {
		return
	}
	a.follow(is)
}

// follow sets what is watched for a Kustomization.
func (a *Applier) follow(k *kustomizev1.Kustomization) {
	if a.watchers == nil {
		return
	}
	if k.DeletionTimestamp != nil || k.Spec.Suspend || k.Status.Inventory == nil {
		a.watchers.forget(client.ObjectKeyFromObject(k))
		return
	}
	objects, _ := inventory.FromStatus(k.Status.Inventory) // what cannot be read cannot be watched; the run reports it
	interest := live.Interest{Objects: objects}
	// Rules that are wrong are reported by the run.
	interest.Ignore, _ = apply.CompileIgnore(k.Spec.Ignore)
	interest.Exprs, _ = health.Compile(k.Spec.HealthCheckExprs)
	if len(k.Spec.Ignore) > 0 || len(k.Spec.HealthCheckExprs) > 0 {
		rules, _ := json.Marshal([]any{k.Spec.Ignore, k.Spec.HealthCheckExprs}) // plain data
		interest.Rules = string(rules)
	}
	interest.Healthy = a.healthWatched(k, objects, interest.Exprs)
	a.watchers.follow(k, interest)
}

// healthWatched are the objects of which there is more to know than that they are there. What others applied is watched only where
// applier acts by its own rights: a watch sees more than a service account may, and expressions could ask it for that.
func (a *Applier) healthWatched(k *kustomizev1.Kustomization, objects inventory.Inventory, exprs health.Expressions) []inventory.ID {
	ids := healthChecked(k, objects)
	return slices.DeleteFunc(ids, func(id inventory.ID) bool {
		if !objects.Has(id) {
			return a.identity(k) != ""
		}
		return !health.HasState(id.GroupKind()) && !exprs.Has(id.GroupKind())
	})
}

// How soon to look again: when somebody works on the application, and when the bus cannot be read.
const (
	busyAgain = 200 * time.Millisecond
	lostAgain = time.Second
)

// check looks at a Kustomization of which an object may be another than before, and wakes it if that matters.
func (a *Applier) check(ctx context.Context, log *slog.Logger, w kube.Waker, key types.NamespacedName) time.Duration {
	k := &kustomizev1.Kustomization{}
	if a.Cluster.Cache.Get(ctx, key, k) != nil || k.DeletionTimestamp != nil || k.Spec.Suspend {
		return 0
	}
	var known applied
	if _, err := stage.ReadState(ctx, a.Bus, state.StageApply, key, &known); err != nil {
		return lostAgain
	}
	cause := a.cause(k, &known)
	if cause == "" {
		return 0
	}
	if lock, err := a.Bus.GetState(ctx, bus.LockKey(state.StageApply, key)); err != nil {
		return lostAgain
	} else if len(lock.Value) > 0 {
		return busyAgain // what we see may be the doing of a run that is not recorded yet
	}
	log.Debug("objects are not as recorded", "object", key.String(), "cause", cause)
	w.Trigger(ctx, key, stage.Hint{Cause: cause})
	return 0
}

// cause is why a Kustomization has to run, by what the watch sees and the record says; empty for no reason. A run that is to come
// anyway needs none.
func (a *Applier) cause(k *kustomizev1.Kustomization, known *applied) string {
	if known.UID != k.UID || known.Generation != k.Generation || known.Incomplete || known.Set == "" {
		return ""
	}
	objects, _ := inventory.FromStatus(k.Status.Inventory)
	if d := a.standing(client.ObjectKeyFromObject(k), objects, known); len(d.drifted) > 0 {
		return "drift"
	}
	if a.healthNews(k, known, objects) {
		return "health"
	}
	return ""
}

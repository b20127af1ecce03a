// Package handler makes the cluster equal to the rendered set of one Kustomization and writes its status.
package handler

import (
	"context"
	"fmt"
	"slices"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/seal"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
	"github.com/sluice-cd/sluice/services/applier/internal/apply"
	"github.com/sluice-cd/sluice/services/applier/internal/health"
	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
	"github.com/sluice-cd/sluice/services/applier/internal/live"
	"github.com/sluice-cd/sluice/services/applier/internal/remote"
)

// Backoff of runs that fail for no fault of the application, such as an API server that is away.
var Backoff = stage.Backoff{Base: time.Second, Max: 30 * time.Second}

// Applier is the handler of stage apply.
type Applier struct {
	Cluster              *kube.Cluster
	Bus                  *bus.Conn
	Sealer               *seal.Sealer
	Events               *kube.Events
	Engines              *Engines
	Identities           *remote.Identities
	DefaultAccount       string
	NoCrossNamespaceRefs bool
	PruneGuard           PruneGuard
	WatchedClusters      int // most other clusters watched at once; zero for no limit

	watchers *Watchers
	// timeout is how long a Kustomization may take to become healthy; nil is its own.
	timeout func(*kustomizev1.Kustomization) time.Duration
}

func (a *Applier) timeoutOf(k *kustomizev1.Kustomization) time.Duration {
	if a.timeout != nil {
		return a.timeout(k)
	}
	return k.GetTimeout()
}

// applied is what applier remembers of a Kustomization.
type applied struct {
	UID types.UID `json:"uid"`
	// Set and Generation were applied completely at At, in answer to RequestedAt.
	Set         string    `json:"set,omitempty"`
	Generation  int64     `json:"generation,omitempty"`
	RequestedAt string    `json:"requestedAt,omitempty"`
	At          time.Time `json:"at,omitzero"`
	// Begun names objects that an apply under way may have created before the status names them.
	Begun []kustomizev1.ResourceRef `json:"begun,omitempty"`
	// Told is the outcome that was last told.
	Told string `json:"told,omitempty"`
	// Objects is what the last apply saw of each object in Cluster: empty for this one, otherwise where Description led to.
	Objects     live.Memo `json:"objects,omitzero"`
	Cluster     string    `json:"cluster,omitempty"`
	Description string    `json:"description,omitempty"`
	// Incomplete says that the last apply did not get done, so that the next run applies whatever else holds.
	Incomplete bool `json:"incomplete,omitempty"`
	// Held is the plan of a prune that waits for its acknowledgement.
	Held string `json:"held,omitempty"`
	// Repairs of drift in a row, the last of them at RepairedAt.
	Repairs    int       `json:"repairs,omitempty"`
	RepairedAt time.Time `json:"repairedAt,omitzero"`
	// Health of what was applied, and since when it was waited for.
	Health      string    `json:"health,omitempty"`
	HealthSince time.Time `json:"healthSince,omitzero"`
}

// Deletions passes on only the wake-ups of deleted Kustomizations: every other change reaches applier by way of a render.
type Deletions struct{ kube.Waker }

// Trigger wakes the stage of a deleted Kustomization.
func (d Deletions) Trigger(ctx context.Context, key types.NamespacedName, hint stage.Hint) {
	if hint.Cause == "deleted" {
		d.Waker.Trigger(ctx, key, hint)
	}
}

// Woken says which Kustomizations a fact wakes: the one that was rendered, or those that depend on the one that was applied or became
// healthy.
func (a *Applier) Woken(ctx context.Context, fact *factsv1.Fact) ([]types.NamespacedName, error) {
	switch bus.FactKind(fact) {
	case bus.FactApplied:
		return a.Cluster.Dependants(ctx, bus.FactObject(fact))
	case bus.FactHealthChanged:
		if fact.GetHealthChanged().GetTo() != factsv1.Health_HEALTH_HEALTHY {
			return nil, nil
		}
		return a.Cluster.Dependants(ctx, bus.FactObject(fact))
	}
	return []types.NamespacedName{bus.FactObject(fact)}, nil
}

// job is one run's view of its Kustomization.
type job struct {
	run      *stage.Run
	k        *kustomizev1.Kustomization // as the API server has it now; its status is changed as the run goes
	before   *kustomizev1.Kustomization
	rendered state.Rendered
	known    applied
	started  time.Time
	// drift is what the watch knows, as of the last look.
	drift drift
	// ignore are the compiled rules of the spec, and exprs its expressions.
	ignore []apply.IgnoreRule
	exprs  health.Expressions
	// awaitsHealth says that the application is not healthy yet, and is asked to be.
	awaitsHealth bool
}

// Run brings the cluster to the rendered set of one Kustomization.
func (a *Applier) Run(ctx context.Context, run *stage.Run) (stage.Result, error) {
	result, err := a.bringForward(ctx, run)
	if kube.IsConflict(err) {
		err = stage.After(100*time.Millisecond, err) // somebody changed the object meanwhile: look at it again
	}
	return result, err
}

func (a *Applier) bringForward(ctx context.Context, run *stage.Run) (stage.Result, error) {
	j := &job{run: run, k: &kustomizev1.Kustomization{}, started: time.Now()}
	if _, err := run.Load(&j.known); err != nil {
		return stage.Result{}, err
	}
	if _, err := stage.ReadState(ctx, a.Bus, state.StageRender, run.Key, &j.rendered); err != nil {
		return stage.Result{}, err
	}
	fresh := false
	if a.Cluster.Cache.Get(ctx, run.Key, j.k) == nil && j.isToApply() {
		j.before = j.k.DeepCopy()
		if a.isCurrent(ctx, j) {
			result, err := a.conclude(ctx, j, nil, nil)
			if !kube.IsConflict(err) && !apierrors.IsNotFound(err) {
				return result, err
			}
		} else {
			fresh = a.makeOurs(ctx, j)
		}
	}
	if !fresh {
		j.k = &kustomizev1.Kustomization{} // not into what the cache gave: fields that are gone would stay
		err := a.Cluster.Client.Get(ctx, run.Key, j.k)
		if apierrors.IsNotFound(err) {
			return stage.Result{Gone: true}, nil
		}
		if err != nil {
			return stage.Result{}, fmt.Errorf("read kustomization: %w", err)
		}
	}
	return a.act(ctx, j)
}

// isToApply says whether the object, as the cache has it, is one that a rendered set stands ready for.
func (j *job) isToApply() bool {
	return j.k.DeletionTimestamp == nil && !j.k.Spec.Suspend && j.isRendered() && j.rendered.OK()
}

// isRendered says whether the rendered set, or the failure to render it, is of this very object and spec.
func (j *job) isRendered() bool {
	return j.rendered.UID == j.k.UID && j.rendered.Generation == j.k.Generation
}

// makeOurs puts our finalizer on an object that has none, which proves that the cache had its latest state.
func (a *Applier) makeOurs(ctx context.Context, j *job) bool {
	if slices.Contains(j.k.Finalizers, kube.Finalizer) || j.run.Guard() != nil {
		return false
	}
	return a.Cluster.AddFinalizer(ctx, j.k) == nil
}

// act decides by the latest state of the object, which is no older than this run: what follows changes the cluster.
func (a *Applier) act(ctx context.Context, j *job) (stage.Result, error) {
	j.before = j.k.DeepCopy()
	if j.known.UID != j.k.UID {
		j.known = applied{UID: j.k.UID}
	}
	switch {
	case j.k.DeletionTimestamp != nil:
		return a.finalize(ctx, j)
	case j.k.Spec.Suspend:
		return stage.Result{}, nil
	case !j.isRendered():
		return stage.Result{Next: unrenderedDelay}, nil
	case !j.rendered.OK():
		return a.failed(ctx, j, &fault{reason: j.rendered.Reason, message: j.rendered.Message})
	}
	if err := a.Cluster.AddFinalizer(ctx, j.k); err != nil {
		return stage.Result{}, err
	}
	j.before = j.k.DeepCopy()
	if a.isCurrent(ctx, j) {
		return a.conclude(ctx, j, nil, nil)
	}
	if wait := j.patience(); wait > 0 {
		_, err := a.conclude(ctx, j, nil, nil) // the revision goes on meanwhile
		return stage.Result{Next: wait, Exact: true}, err
	}
	if err := a.checkSpec(ctx, j); err != nil {
		return a.failed(ctx, j, err)
	}
	return a.apply(ctx, j)
}

// unrenderedDelay is a safety net: the render's fact comes long before.
const unrenderedDelay = time.Minute

// oldInventory is everything that may be in the cluster because of this Kustomization.
func (j *job) oldInventory() (inventory.Inventory, error) {
	named, err := inventory.FromStatus(j.k.Status.Inventory)
	if err != nil {
		j.run.Log.Warn("inventory has entries that cannot be read", "err", err)
	}
	begun, err := inventory.FromStatus(&kustomizev1.ResourceInventory{Entries: j.known.Begun})
	if err != nil {
		return named, fmt.Errorf("read what was begun: %w", err)
	}
	return begun.Union(named), nil
}

package handler

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/services/applier/internal/apply"
	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
	"github.com/sluice-cd/sluice/services/applier/internal/live"
)

// pendingDelay is when to come back for objects that wait for their definition.
const pendingDelay = time.Second

// apply applies the set, prunes what left it, and writes the outcome.
func (a *Applier) apply(ctx context.Context, j *job) (stage.Result, error) {
	set, err := a.loadSet(ctx, j)
	if err != nil {
		return stage.Result{}, err
	}
	old, err := j.oldInventory()
	if err != nil {
		return stage.Result{}, err
	}
	if err := a.begin(ctx, j, old, set); err != nil {
		return stage.Result{}, err
	}
	engine, err := a.engine(ctx, j.k)
	if err != nil {
		return a.failed(ctx, j, err)
	}
	a.arrive(j, engine)
	options := apply.Options{
		Owner: apply.Owner{Name: j.k.Name, Namespace: j.k.Namespace}, Force: j.k.Spec.Force, Guard: j.run.Guard, Settled: a.settled(j), Ignore: j.ignore,
		New: func(id inventory.ID) bool { return !old.Has(id) },
	}
	result, err := engine.Apply(ctx, set, options)
	a.remember(j, result.Changes)
	j.k.Status.LastAttemptedRevision = j.rendered.SourceRevision
	if err != nil {
		j.k.Status.Inventory = old.Union(result.Inventory).ToStatus()
		return a.applyFailed(ctx, j, meta.ReconciliationFailedReason, result.Changed(), err)
	}
	if len(result.Pending) > 0 {
		j.k.Status.Inventory = old.Union(result.Inventory).ToStatus()
		return a.pending(ctx, j, result)
	}
	if !j.k.Spec.Prune {
		return a.applied(ctx, j, result, nil)
	}
	if held := a.holdPrune(j, old, result.Inventory); held != nil {
		j.k.Status.Inventory = old.Union(result.Inventory).ToStatus()
		return a.held(ctx, j, held, result)
	}
	pruned, err := engine.Prune(ctx, old, result.Inventory, options)
	a.remember(j, pruned.Changes)
	if err != nil {
		j.k.Status.Inventory = result.Inventory.Union(pruned.Remaining).ToStatus()
		return a.applyFailed(ctx, j, meta.PruneFailedReason, append(result.Changed(), pruned.Changes...), err)
	}
	return a.applied(ctx, j, result, pruned.Changes)
}

// arrive notes the cluster that is applied to.
func (a *Applier) arrive(j *job, to *target) {
	if j.known.Cluster != to.cluster {
		j.known.Objects = live.Memo{} // what was seen there says nothing here
	}
	if j.known.Description != to.description {
		a.watchers.changed(j.k)
	}
	j.known.Cluster, j.known.Description = to.cluster, to.description
}

// applied concludes a run in which all objects of the set were applied.
func (a *Applier) applied(ctx context.Context, j *job, result *apply.Result, pruned []apply.Change) (stage.Result, error) {
	j.k.Status.Inventory = result.Inventory.ToStatus()
	a.follow(j.k)
	j.known.At = time.Now()
	return a.conclude(ctx, j, result.Changes, pruned)
}

// loadSet opens the sealed set. When the bus lost it, the renderer is asked to make it again.
func (a *Applier) loadSet(ctx context.Context, j *job) ([]*unstructured.Unstructured, error) {
	sealed, err := a.Bus.Sets().Get(ctx, j.rendered.Set)
	if errors.Is(err, bus.ErrArtifactNotFound) {
		if err := stage.Wake(ctx, a.Bus, state.StageRender, j.run.Key, stage.Hint{Cause: "lost"}); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("rendered set is lost, asked for again: %w", err)
	}
	if err != nil {
		return nil, err
	}
	data, err := a.Sealer.Open(j.rendered.Set, sealed)
	if err != nil {
		return nil, err
	}
	return parseSet(data)
}

// parseSet reads one JSON object a line.
func parseSet(data []byte) ([]*unstructured.Unstructured, error) {
	var set []*unstructured.Unstructured
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, len(data)+1)
	for lines.Scan() {
		u := &unstructured.Unstructured{}
		if err := u.UnmarshalJSON(lines.Bytes()); err != nil {
			return nil, fmt.Errorf("read rendered set: object %d cannot be parsed", len(set)+1) // the cause would quote it
		}
		set = append(set, u)
	}
	return set, nil
}

// begin remembers the objects that are about to be created, if any: should this process die before the status names them, the next run
// knows what to prune.
func (a *Applier) begin(ctx context.Context, j *job, old inventory.Inventory, set []*unstructured.Unstructured) error {
	var begun inventory.Inventory
	for _, u := range set {
		begun.Add(inventory.Of(u), u.GroupVersionKind().Version)
	}
	fresh := begun.Difference(old)
	if fresh.Len() == 0 {
		return nil
	}
	j.known.Begun = append(j.known.Begun, fresh.ToStatus().Entries...)
	return j.run.Save(ctx, j.known)
}

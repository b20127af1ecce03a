package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
	"github.com/sluice-cd/sluice/services/applier/internal/order"
)

// PruneResult is what a run of Prune did.
type PruneResult struct {
	// Changes are in the order of the run.
	Changes []Change
	// Remaining is what should have been pruned and was not, because it failed or was not reached.
	// The caller keeps it in the inventory, so that it is not forgotten in the cluster.
	Remaining inventory.Inventory
}

// victim is an object that may have to be deleted.
type victim struct {
	id      inventory.ID
	version string
}

func victimsOf(inv inventory.Inventory) []victim {
	victims := make([]victim, 0, inv.Len())
	for id, version := range inv.All() {
		victims = append(victims, victim{id, version})
	}
	return victims
}

// Prune deletes what old names and new does not, in the reverse order of Apply. It deletes nothing
// that does not have the owner's labels, that asks not to be pruned, or that is, under another
// name, in new. What fails does not keep the rest from being pruned. Errors are as those of Apply.
// The result is never nil.
func (e *Engine) Prune(ctx context.Context, old, new inventory.Inventory, o Options) (*PruneResult, error) {
	ctx, r := e.newRun(ctx, o)
	defer r.end(nil)
	p := &pruning{run: r, new: new, uids: sync.OnceValue(func() map[types.UID]bool { return e.uidsOf(new) })}
	result := &PruneResult{Remaining: old.Difference(new)}
	var failures Failures
	groups := order.Group(victimsOf(result.Remaining), func(v victim) schema.GroupKind { return v.id.GroupKind() })
	for _, class := range slices.Backward(groups) {
		p.pruneClass(ctx, class, result, &failures)
	}
	return result, p.conclude(ctx, &failures)
}

// pruning is one run of Prune.
type pruning struct {
	*run
	new inventory.Inventory
	// uids are those of the objects of new, as far as they are remembered.
	uids func() map[types.UID]bool
}

func (e *Engine) uidsOf(inv inventory.Inventory) map[types.UID]bool {
	uids := map[types.UID]bool{}
	for id := range inv.All() {
		if seen, ok := e.memory.get(id); ok {
			uids[seen.UID] = true
		}
	}
	return uids
}

func (p *pruning) pruneClass(ctx context.Context, class []victim, result *PruneResult, failures *Failures) {
	ids, changes := make([]inventory.ID, len(class)), make([]Change, len(class))
	for i, v := range class {
		ids[i] = v.id
	}
	errs := p.each(ctx, len(class), func(i int) (err error) {
		changes[i], err = p.prune(ctx, class[i])
		return err
	})
	var done inventory.Inventory
	for i, err := range errs {
		if err == nil {
			done.Add(ids[i], class[i].version)
			result.Changes = append(result.Changes, changes[i])
		}
	}
	result.Remaining = result.Remaining.Difference(done)
	if failed := collect(ids, errs, "prune"); failed != nil {
		failures.Objects = append(failures.Objects, failed.Objects...)
		failures.Skipped += failed.Skipped
	}
}

func (p *pruning) conclude(ctx context.Context, failures *Failures) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("prune stopped: %w", context.Cause(ctx))
	case len(failures.Objects) > 0:
		return failures
	}
	return nil
}

// prune deletes one object, if all that speaks against it does not hold.
func (p *pruning) prune(ctx context.Context, v victim) (Change, error) {
	change := Change{ID: v.id, Version: v.version, Action: Gone}
	at, reason, err := p.engine.locate(v, p.started)
	if reason != "" || err != nil {
		change.Note = reason
		return change, err
	}
	answer, err := p.engine.client.get(ctx, at)
	if apierrors.IsNotFound(err) {
		change.Note = "it was not there"
		return change, nil
	}
	if err != nil {
		return change, err
	}
	if reason := p.spare(v.id, at, answer); reason != "" {
		change.Action, change.Note = Skipped, reason
		return change, nil
	}
	if answer.meta.DeletionTimestamp != nil {
		change.Note = "it is being deleted already"
		return change, nil
	}
	return p.remove(ctx, at, answer.meta.UID, change)
}

func (p *pruning) remove(ctx context.Context, at target, uid types.UID, change Change) (Change, error) {
	if err := p.guard(ctx); err != nil {
		return change, err
	}
	err := p.engine.client.delete(ctx, at, uid)
	if err != nil && !apierrors.IsNotFound(err) {
		return change, err
	}
	p.engine.memory.forget(change.ID)
	change.Action = Deleted
	return change, nil
}

// locate finds where a victim lives, or why there cannot be such an object.
func (e *Engine) locate(v victim, since time.Time) (at target, reason string, err error) {
	// The version may have gone while the kind is still served.
	res, err := e.kinds.find(v.id.GroupKind().WithVersion(v.version), since)
	if errors.As(err, new(*unknownKind)) {
		res, err = e.kinds.find(v.id.GroupKind().WithVersion(""), since)
	}
	switch {
	case errors.As(err, new(*unknownKind)):
		return at, "its kind is not served any more", nil
	case err != nil:
		return at, "", err
	case checkNames(res.gvr.GroupVersion().WithKind(v.id.Kind), v.id) != nil, res.namespaced && v.id.Namespace == "":
		return at, "nothing can have such a name", nil
	}
	if !res.namespaced {
		v.id.Namespace = ""
	}
	return target{resource: res, namespace: v.id.Namespace, name: v.id.Name}, "", nil
}

// spare returns why a live object must not be pruned, or nothing. Inventories of others can name
// one object in two ways: by two groups that serve it, or with a namespace though it has none.
func (p *pruning) spare(id inventory.ID, at target, live *answer) string {
	meta := &live.meta
	id.Namespace = at.namespace
	switch {
	case p.new.Has(id), p.uids()[meta.UID]:
		return "it is still in the set, under another name"
	case !p.options.Owner.owns(meta.Labels):
		return "it belongs to another owner"
	}
	return policyOf(meta.Labels, meta.Annotations).keepsFromPrune()
}

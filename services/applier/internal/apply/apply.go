package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
	"github.com/sluice-cd/sluice/services/applier/internal/order"
)

// Apply makes the cluster hold every object of set as it is written there. The set is not changed.
//
// Objects are applied class by class; within a class all are tried, and if some fail the next class
// is not begun. The error is then a *Failures, of which KindOf tells whether to try again. If the
// guard or the context ended the run, the error wraps theirs. A set that holds an object twice, or
// one that cannot be sent at all, is refused before anything is applied. The result is never nil.
func (e *Engine) Apply(ctx context.Context, set []*unstructured.Unstructured, o Options) (*Result, error) {
	ctx, r := e.newRun(ctx, o)
	defer r.end(nil)
	result := &Result{}
	objects, err := r.prepare(set)
	if err != nil {
		return result, err
	}
	r.settleAll(objects)
	left := len(objects)
	for _, class := range order.Group(objects, func(d *desired) schema.GroupKind { return d.gvk.GroupKind() }) {
		left -= len(class)
		r.awaitAll(ctx, class)
		if failures := r.applyClass(ctx, class, result); failures != nil {
			failures.Skipped += left
			err = failures
		}
		if ctx.Err() != nil {
			err = fmt.Errorf("apply stopped: %w", context.Cause(ctx))
		}
		if err != nil {
			return result, err
		}
	}
	return result, nil
}

// settleAll marks the objects of which the caller knows that there is nothing to do.
func (r *run) settleAll(objects []*desired) {
	for _, d := range objects {
		d.settled = r.options.Settled != nil && d.missing == nil && d.policy.paused == "" && r.options.Settled(d.id, d.digest)
	}
}

// prepare makes what is to be sent of the whole set, and finds where each object goes.
func (r *run) prepare(set []*unstructured.Unstructured) ([]*desired, error) {
	var failures Failures
	objects := make([]*desired, 0, len(set))
	for _, u := range set {
		d, err := prepare(u, r.options)
		var failed *ObjectError
		if errors.As(err, &failed) {
			failures.Objects = append(failures.Objects, failed)
			continue
		}
		objects = append(objects, d)
	}
	r.locateAll(objects)
	seen := make(map[inventory.ID]bool, len(objects))
	for _, d := range objects {
		if seen[d.id] {
			failures.Objects = append(failures.Objects, failure(d.id, "read", malformedf("it is in the set twice")))
		}
		seen[d.id] = true
	}
	if len(failures.Objects) > 0 {
		failures.Skipped = len(set) - len(failures.Objects)
		return nil, &failures
	}
	return objects, nil
}

// locateAll finds where the objects go, as far as that is known before the first is applied.
func (r *run) locateAll(objects []*desired) {
	definitions := map[schema.GroupKind]*definition{}
	for _, d := range objects {
		if d.defines = definitionOf(d); d.defines != nil {
			definitions[d.defines.kind] = d.defines
		}
	}
	for _, d := range objects {
		d.definition = definitions[d.gvk.GroupKind()]
		d.missing = r.find(d)
	}
}

// find says where an object goes, by the definition in the set or else by the API server.
func (r *run) find(d *desired) error {
	if d.definition != nil {
		if res, ok := d.definition.serves(d.gvk.Version); ok {
			return d.settle(res)
		}
	}
	res, err := r.engine.kinds.find(d.gvk, r.started)
	if err != nil {
		return err
	}
	return d.settle(res)
}

// awaitAll waits for the definitions that the objects of a class are instances of.
func (r *run) awaitAll(ctx context.Context, class []*desired) {
	for _, d := range class {
		if d.definition != nil && !d.settled {
			r.await(ctx, d.definition)
		}
	}
}

// applyClass applies one class and adds what became of it to the result.
func (r *run) applyClass(ctx context.Context, class []*desired, result *Result) *Failures {
	ids, changes := make([]inventory.ID, len(class)), make([]Change, len(class))
	for i, d := range class {
		ids[i] = d.id
	}
	errs := r.each(ctx, len(class), func(i int) (err error) {
		changes[i], err = r.applyObject(ctx, class[i])
		return err
	})
	for i, d := range class {
		result.add(d, changes[i], errs[i])
	}
	return collect(ids, errs, "apply")
}

// add notes what became of an object.
func (result *Result) add(d *desired, change Change, err error) {
	if err == errNotBegun {
		return
	}
	result.Inventory.Add(d.id, d.gvk.Version)
	var wait *pending
	switch {
	case err == nil:
		result.Changes = append(result.Changes, change)
	case errors.As(err, &wait):
		result.Pending = append(result.Pending, Pending{ID: d.id, Reason: wait.reason})
	}
}

// Changed returns the changes that changed the cluster.
func (result *Result) Changed() []Change {
	return slices.DeleteFunc(slices.Clone(result.Changes), func(c Change) bool { return !c.Action.Changed() })
}

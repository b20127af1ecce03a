package apply

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

// Terminating returns the objects of an inventory that are being deleted and not gone yet. What was
// not pruned because it asked not to be, or belongs to another owner, is not among them, nor is
// what somebody created anew.
func (e *Engine) Terminating(ctx context.Context, inv inventory.Inventory) (inventory.Inventory, error) {
	return e.filter(ctx, inv, func(live *answer) bool { return live.meta.DeletionTimestamp != nil })
}

// filter looks at the objects of an inventory in the cluster and returns those that match.
func (e *Engine) filter(ctx context.Context, inv inventory.Inventory, matches func(*answer) bool) (inventory.Inventory, error) {
	ctx, r := e.newRun(ctx, Options{})
	defer r.end(nil)
	victims := victimsOf(inv)
	ids, there := make([]inventory.ID, len(victims)), make([]bool, len(victims))
	for i, v := range victims {
		ids[i] = v.id
	}
	errs := r.each(ctx, len(victims), func(i int) error {
		live, err := r.read(ctx, victims[i])
		there[i] = live != nil && matches(live)
		return err
	})
	var found inventory.Inventory
	for i, v := range victims {
		if there[i] {
			found.Add(v.id, v.version)
		}
	}
	if ctx.Err() != nil {
		return found, fmt.Errorf("look up stopped: %w", context.Cause(ctx))
	}
	if failures := collect(ids, errs, "look up"); failures != nil {
		return found, failures
	}
	return found, nil
}

// read returns an object's metadata as it is now, or nil if there is no such object.
func (r *run) read(ctx context.Context, v victim) (*answer, error) {
	at, reason, err := r.engine.locate(v, r.started)
	if reason != "" || err != nil {
		return nil, err
	}
	live, err := r.engine.client.get(ctx, at)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return live, err
}

// Read returns an object of the cluster as it is now, or nil if there is none.
func (e *Engine) Read(ctx context.Context, id inventory.ID, version string) (*unstructured.Unstructured, error) {
	at, reason, err := e.locate(victim{id, version}, time.Now())
	if reason != "" {
		return nil, nil
	}
	if err != nil {
		return nil, failure(id, "look up", err)
	}
	if err := e.acquire(ctx); err != nil {
		return nil, err
	}
	defer e.release()
	live, err := e.client.getWhole(ctx, at)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, failure(id, "read", err)
	}
	object, err := parseWhole(live.raw)
	if err != nil {
		return nil, failure(id, "read", err)
	}
	return &unstructured.Unstructured{Object: object}, nil
}

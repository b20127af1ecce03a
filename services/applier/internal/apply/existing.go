package apply

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

// Existing returns the objects of an inventory that are in the cluster, whoever owns them.
func (e *Engine) Existing(ctx context.Context, inv inventory.Inventory) (inventory.Inventory, error) {
	ctx, r := e.newRun(ctx, Options{})
	defer r.end(nil)
	victims := victimsOf(inv)
	ids, there := make([]inventory.ID, len(victims)), make([]bool, len(victims))
	for i, v := range victims {
		ids[i] = v.id
	}
	errs := r.each(ctx, len(victims), func(i int) (err error) {
		there[i], err = r.exists(ctx, victims[i])
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

func (r *run) exists(ctx context.Context, v victim) (bool, error) {
	at, reason, err := r.engine.locate(v, r.started)
	if reason != "" || err != nil {
		return false, err
	}
	_, err = r.engine.client.get(ctx, at, false)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

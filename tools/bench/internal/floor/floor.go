// Package floor measures the least that the API server allows: the same objects, applied by bare workers that know beforehand what
// to send.
package floor

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/sluice-cd/sluice/tools/bench/internal/workload"
)

// Workers is how many requests are under way at once.
const Workers = 32

// ApplyAll applies objects by server-side apply and returns how long that took.
func ApplyAll(ctx context.Context, api rest.Interface, objects []workload.Object) (time.Duration, error) {
	queue := make(chan workload.Object, len(objects))
	for _, o := range objects {
		queue <- o
	}
	close(queue)
	failed := make(chan error, Workers)
	started := time.Now()
	var wg sync.WaitGroup
	for range Workers {
		wg.Go(func() {
			for o := range queue {
				if err := apply(ctx, api, o); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(started)
	close(failed)
	return took, <-failed
}

// ApplyEach applies objects one after another and returns how long each took.
func ApplyEach(ctx context.Context, api rest.Interface, objects []workload.Object) ([]time.Duration, error) {
	times := make([]time.Duration, len(objects))
	for i, o := range objects {
		started := time.Now()
		if err := apply(ctx, api, o); err != nil {
			return nil, err
		}
		times[i] = time.Since(started)
	}
	return times, nil
}

func apply(ctx context.Context, api rest.Interface, o workload.Object) error {
	err := api.Patch(types.ApplyPatchType).AbsPath(o.Path).Param("fieldManager", "floor").Param("force", "true").
		Body(o.Body).Do(ctx).Error()
	if err != nil {
		return fmt.Errorf("apply %s: %w", o.Path, err)
	}
	return nil
}

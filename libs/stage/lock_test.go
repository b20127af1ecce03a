package stage_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/stage"
)

// TestShortRunsInARowKeepTheirLock: each of them ends before a renewal is due, and all together last longer than the lock.
func TestShortRunsInARowKeepTheirLock(t *testing.T) {
	var self *replica
	var lost, runs atomic.Int32
	ready := make(chan struct{})
	end := time.Now().Add(3 * fast.LockTTL)
	self = start(t, bustest.Start(t), handlerFunc(func(ctx context.Context, run *stage.Run) (stage.Result, error) {
		<-ready
		runs.Add(1)
		if run.Guard() != nil {
			lost.Add(1)
		}
		if time.Now().After(end) {
			return stage.Result{}, nil
		}
		return stage.Result{}, self.TriggerAll(ctx, []types.NamespacedName{run.Key}, stage.Hint{})
	}), fast)
	close(ready)
	self.Trigger(t.Context(), app, stage.Hint{})
	waitFor(t, "an empty queue", func() bool {
		d, err := self.Depth(t.Context())
		return err == nil && d == 0 && time.Now().After(end)
	})
	if lost.Load() > 0 {
		t.Errorf("%d of %d runs began without their lock", lost.Load(), runs.Load())
	}
}

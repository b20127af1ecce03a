package stage_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/stage"
)

// TestSharedLock: runs of different objects, in two replicas, are never within one shared lock together, also where each takes longer than the
// lock lives.
func TestSharedLock(t *testing.T) {
	var inside, most, done atomic.Int32
	h := handlerFunc(func(ctx context.Context, run *stage.Run) (stage.Result, error) {
		ctx, shared, err := run.Share(ctx, "https://example.com/apps main")
		if errors.Is(err, stage.ErrShared) {
			return stage.Result{Next: 20 * time.Millisecond, Exact: true, Idle: true}, nil
		}
		if err != nil {
			return stage.Result{}, err
		}
		defer shared.Release(ctx)
		if n := inside.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer inside.Add(-1)
		select {
		case <-time.After(fast.LockTTL * 3 / 2):
		case <-ctx.Done():
			t.Error(context.Cause(ctx))
		}
		if err := shared.Guard(); err != nil {
			t.Error(err)
		}
		done.Add(1)
		return stage.Result{}, nil
	})
	server := bustest.Start(t)
	a, b := start(t, server, h, fast), start(t, server, h, fast)
	for i, r := range []*replica{a, b, a} {
		r.Trigger(t.Context(), types.NamespacedName{Namespace: "default", Name: string(rune('a' + i))}, stage.Hint{})
	}
	waitFor(t, "three runs", func() bool { return done.Load() >= 3 })
	if most.Load() != 1 {
		t.Errorf("%d runs were in the lock together", most.Load())
	}
}

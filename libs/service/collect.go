package service

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/stage"
)

// collectEvery keeps garbage below an hour of age: it is found at the first collection after bus.Grace.
const collectEvery = 20 * time.Minute

// NewCollector makes a stage with the one object "store", so that of all replicas one at a time, and only now and then, removes from a
// store what nobody names.
func NewCollector(env *Env, name string, store bus.ArtifactStore, named func(context.Context) (map[string]bool, error)) *stage.Stage {
	key := types.NamespacedName{Name: "store"}
	return stage.New(env.Stages, name, &collector{store, named}, stage.Options{
		Slots:   1,
		Objects: func(context.Context) ([]types.NamespacedName, error) { return []types.NamespacedName{key}, nil },
	})
}

type collector struct {
	store bus.ArtifactStore
	named func(context.Context) (map[string]bool, error)
}

func (c *collector) Run(ctx context.Context, run *stage.Run) (stage.Result, error) {
	done, err := bus.Collect(ctx, c.store, bus.Grace, c.named)
	if err != nil {
		return stage.Result{}, fmt.Errorf("collect: %w", err)
	}
	if done != (bus.Collected{}) {
		run.Log.Info("collected what nobody names", "artifacts", done.Artifacts, "orphans", done.Orphans, "bytes", done.Bytes)
	}
	return stage.Result{Next: collectEvery}, nil
}

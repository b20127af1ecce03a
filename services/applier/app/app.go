// Package app builds applier and runs it. It is the one package of the service that others import.
package app

import (
	"context"
	"errors"
	"sync"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/seal"
	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/services/applier/internal/config"
	"github.com/sluice-cd/sluice/services/applier/internal/handler"
	"github.com/sluice-cd/sluice/services/applier/internal/remote"
)

// Config is what applier can be told.
type Config = config.Config

// DefaultConfig returns the settings for a pod.
func DefaultConfig() Config { return config.Default() }

// Run runs applier until ctx ends.
func Run(ctx context.Context, env *service.Env, c Config) error {
	sealer, err := seal.NewFromFile(c.SealKeyFile)
	if err != nil {
		return err
	}
	if err := env.Cluster.WaitForKinds(ctx, &kustomizev1.Kustomization{}); err != nil {
		return err
	}
	events, err := env.Cluster.NewEvents("applier")
	if err != nil {
		return err
	}
	defer events.Stop()
	identities, err := remote.NewIdentities(env.Cluster.Client, c.ObjectIdentities, c.DefaultKubeConfigServiceAccount)
	if err != nil {
		return err
	}
	h := &handler.Applier{
		Identities: identities,
		Cluster:    env.Cluster, Bus: env.Bus, Sealer: sealer, Events: events,
		Engines:              handler.NewEngines(env.Cluster.Config, c.Requests),
		DefaultAccount:       c.DefaultServiceAccount,
		WatchedClusters:      c.WatchedClusters,
		NoCrossNamespaceRefs: env.NoCrossNamespaceRefs,
		PruneGuard:           handler.PruneGuard{Off: !c.PruneGuard, Share: c.PruneGuardShare},
	}
	if err := errors.Join(kube.IndexDependencies(ctx, env.Cluster), kube.IndexClusters(ctx, env.Cluster)); err != nil {
		return err
	}
	applications := stage.New(env.Stages, state.StageApply, h, stage.Options{
		Slots: c.Concurrency, Objects: env.Cluster.Kustomizations, Backoff: handler.Backoff,
		Facts: []string{bus.FactManifestsRendered, bus.FactRenderFailed, bus.FactApplied, bus.FactHealthChanged}, Map: h.Woken, Hints: env.Cluster.HintedKustomizations,
	})
	if err := env.Cluster.Watch(ctx, &kustomizev1.Kustomization{}, kube.KustomizationHandled, handler.Deletions{Waker: applications}); err != nil {
		return err
	}
	if err := env.Cluster.WatchClusters(ctx, applications); err != nil {
		return err
	}
	objects, err := h.FollowObjects(ctx, env.Log, applications)
	if err != nil {
		return err
	}
	if err := env.StartCache(ctx); err != nil {
		return err
	}
	env.Ready()
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { objects.Run(ctx) })
	applications.Run(ctx)
	return nil
}

// Package app builds manifest-renderer and runs it. It is the one package of the service that others import.
package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/seal"
	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/config"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/decrypt"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/handler"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/remote"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/render"
)

// Config is what manifest-renderer can be told.
type Config = config.Config

// DefaultConfig returns the settings for a pod.
func DefaultConfig() Config { return config.Default() }

// Run runs manifest-renderer until ctx ends.
func Run(ctx context.Context, env *service.Env, c Config) error {
	sealer, err := seal.NewFromFile(c.SealKeyFile)
	if err != nil {
		return err
	}
	ageSecret, err := c.AgeSecret()
	if err != nil {
		return err
	}
	if err := env.Cluster.WaitForKinds(ctx, &sourcev1.GitRepository{}, &kustomizev1.Kustomization{}); err != nil {
		return err
	}
	remotes, err := newRemotes(env, c)
	if err != nil {
		return err
	}
	identities, err := decrypt.NewIdentities(env.Cluster.Client, c.ObjectIdentities)
	if err != nil {
		return err
	}
	identities.Default = c.DefaultDecryptionServiceAccount
	h := &handler.Handler{
		Cluster: env.Cluster, Bus: env.Bus, Sealer: sealer,
		Sets:                 handler.NewSets(env.Bus.Sets(), sealer),
		Renderer:             render.New(render.Options{Strict: c.StrictSubstitution, NoRemotes: c.NoRemoteBases}),
		Trees:                handler.NewTrees(env.Bus.Artifacts(), c.TreeCacheBytes),
		Remotes:              remotes,
		NoCrossNamespaceRefs: env.NoCrossNamespaceRefs, AgeSecret: ageSecret,
		Identities: identities, Vault: decrypt.Vault{Address: os.Getenv("VAULT_ADDR"), Token: os.Getenv("VAULT_TOKEN")}, // Flux's way to name them
	}
	if err := errors.Join(kube.IndexSources(ctx, env.Cluster), kube.IndexReferences(ctx, env.Cluster)); err != nil {
		return err
	}
	applications := stage.New(env.Stages, state.StageRender, h, stage.Options{
		Slots: c.Concurrency, Backoff: handler.Backoff, Objects: env.Cluster.Kustomizations,
		Facts: []string{bus.FactSourceRevised}, Map: h.Followers, Hints: env.Cluster.HintedKustomizations,
	})
	if err := env.Cluster.Watch(ctx, &kustomizev1.Kustomization{}, kube.KustomizationHandled, handler.Watched{Waker: applications, Handler: h}); err != nil {
		return err
	}
	if err := env.Cluster.WatchReferences(ctx, applications); err != nil {
		return err
	}
	warm := make(chan struct{})
	go func() { render.Warm(); close(warm) }()
	if err := env.StartCache(ctx); err != nil {
		return fmt.Errorf("start manifest-renderer: %w", err)
	}
	<-warm
	env.Ready()
	env.Registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "sluice_render_builds_total", Help: "Builds begun: renders that were not known to be those of before.",
	}, func() float64 { return float64(h.Renderer.Builds()) }))
	garbage := service.NewCollector(env, "collect-sets", env.Bus.Sets(), handler.NamedSets(env.Bus))
	var wg sync.WaitGroup
	wg.Go(func() { applications.Run(ctx) })
	if remotes != nil {
		wg.Go(func() { remotes.Run(ctx) })
	}
	wg.Go(func() { garbage.Run(ctx) })
	wg.Wait()
	return nil
}

// newRemotes is what fetches remote bases; nil where they are switched off.
func newRemotes(env *service.Env, c Config) (*remote.Fetcher, error) {
	if c.NoRemoteBases {
		return nil, nil
	}
	allow, err := c.AllowedNetworks()
	if err != nil {
		return nil, err
	}
	return remote.New(remote.Options{Allow: allow, DiskBytes: c.RemoteBasesDiskBytes, Wake: handler.WakeRender(env.Bus), Log: env.Log})
}

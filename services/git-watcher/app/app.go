// Package app builds git-watcher and runs it. It is the one package of the service that others import.
package app

import (
	"context"
	"fmt"
	"sync"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/git"
	"github.com/sluice-cd/sluice/libs/git/identity"
	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/services/git-watcher/internal/config"
	"github.com/sluice-cd/sluice/services/git-watcher/internal/handler"
)

// unusedMirror is how long the mirror of a repository that no object names is kept.
const unusedMirror = 24 * time.Hour

// Config is what git-watcher can be told.
type Config = config.Config

// DefaultConfig returns the settings for a pod.
func DefaultConfig() Config { return config.Default() }

// Run runs git-watcher until ctx ends.
func Run(ctx context.Context, env *service.Env, c Config) error {
	if err := env.Cluster.WaitForKinds(ctx, &sourcev1.GitRepository{}); err != nil {
		return err
	}
	mirrors, err := git.NewMirrors(git.Options{Dir: c.DataDir, InsecureHosts: c.InsecureHosts, SubmoduleHosts: c.SubmoduleHosts, Logger: env.Log})
	if err != nil {
		return fmt.Errorf("open mirrors: %w", err)
	}
	defer func() { _ = mirrors.Close() }()
	events, err := env.Cluster.NewEvents("git-watcher")
	if err != nil {
		return err
	}
	defer events.Stop()
	if c.ArtifactAddr != "" {
		at, stop, err := service.ServeHTTP(c.ArtifactAddr, handler.ServeArtifacts(env.Bus.Artifacts()), env.Log)
		if err != nil {
			return fmt.Errorf("serve artifacts: %w", err)
		}
		defer stop()
		if c.ArtifactURL == "" {
			c.ArtifactURL = "http://" + at.String()
		}
	}
	issuer, err := identity.NewIssuer(env.Cluster.Client, c.ObjectIdentities)
	if err != nil {
		return err
	}
	watcher := &handler.Watcher{
		Mirrors: mirrors, Identity: issuer, Cluster: env.Cluster, Bus: env.Bus, Artifacts: env.Bus.Artifacts(), Events: events, ArtifactURL: c.ArtifactURL,
	}
	if err := handler.IndexIncludes(ctx, env.Cluster); err != nil {
		return err
	}
	if err := handler.IndexAddresses(ctx, env.Cluster); err != nil {
		return err
	}
	repositories := stage.New(env.Stages, state.StageGit, watcher, stage.Options{
		Slots: c.Concurrency, Objects: listFrom(env), Backoff: handler.Backoff,
		Facts: []string{bus.FactSourceRevised}, Map: watcher.Includers, Hints: watcher.Hinted,
	})
	if err := env.Cluster.Watch(ctx, &sourcev1.GitRepository{}, handler.Handled, repositories); err != nil {
		return err
	}
	if err := env.StartCache(ctx); err != nil {
		return err
	}
	env.Ready()
	garbage := service.NewCollector(env, "collect-artifacts", env.Bus.Artifacts(), handler.NamedArtifacts(env.Cluster, env.Bus))
	var wg sync.WaitGroup
	wg.Go(func() { repositories.Run(ctx) })
	wg.Go(func() { garbage.Run(ctx) })
	wg.Go(func() { mirrors.Tidy(ctx, unusedMirror) })
	wg.Wait()
	return nil
}

// listFrom lists the GitRepositories in the cache.
func listFrom(env *service.Env) func(context.Context) ([]types.NamespacedName, error) {
	return func(ctx context.Context) ([]types.NamespacedName, error) {
		var list sourcev1.GitRepositoryList
		if err := env.Cluster.Cache.List(ctx, &list); err != nil {
			return nil, fmt.Errorf("list git repositories: %w", err)
		}
		keys := make([]types.NamespacedName, len(list.Items))
		for i := range list.Items {
			keys[i] = client.ObjectKeyFromObject(&list.Items[i])
		}
		return keys, nil
	}
}

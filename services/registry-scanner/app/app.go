// Package app builds registry-scanner and runs it. It is the one package of the service that others import.
package app

import (
	"context"
	"fmt"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/imageaccess"
	"github.com/sluice-cd/sluice/libs/imagecache"
	"github.com/sluice-cd/sluice/libs/registry"
	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/libs/version"
	"github.com/sluice-cd/sluice/services/registry-scanner/internal/config"
	"github.com/sluice-cd/sluice/services/registry-scanner/internal/handler"
)

// eventsPerSecond is how many good news are written as Events in a second; after an installation there is one for each object.
const eventsPerSecond = 20

// scanTimesPerSecond is how many statuses are written in a second that have nothing to say but when the image was scanned: most scans find
// nothing new, and a status costs the API server more than a scan costs its registry.
const scanTimesPerSecond = 20

// Config is what registry-scanner can be told.
type Config = config.Config

// DefaultConfig returns the settings for a pod.
func DefaultConfig() Config { return config.Default() }

// Run runs registry-scanner until ctx ends.
func Run(ctx context.Context, env *service.Env, c Config) error {
	if err := env.Cluster.WaitForKinds(ctx, &imagev1.ImageRepository{}); err != nil {
		return err
	}
	cache, err := imagecache.Connect(c.Redis, env.Log, env.Registry)
	if err != nil {
		return fmt.Errorf("open image cache: %w", err)
	}
	defer cache.Close()
	if err := cache.Ping(ctx); err != nil {
		env.Log.Warn("scans wait for the image cache", "err", err)
	}
	registries, err := registry.New(registry.Options{
		Budget: cache.NewBudget(c.Rate), UserAgent: "sluice/" + version.Version, TokenHosts: c.TokenHosts, Connections: c.Concurrency,
		HostLabel: cache.HostLabel, Registry: env.Registry,
	})
	if err != nil {
		return fmt.Errorf("make client of registries: %w", err)
	}
	access, err := imageaccess.New(env.Cluster, c.ObjectIdentities)
	if err != nil {
		return err
	}
	events, err := env.Cluster.NewPacedEvents("registry-scanner", eventsPerSecond)
	if err != nil {
		return err
	}
	defer events.Stop()
	scanner := &handler.Scanner{
		Cluster: env.Cluster, Bus: env.Bus, Events: events, Cache: cache, Registries: registries, Access: access, Settings: handler.NewSettings(c),
		ScanTimes: rate.NewLimiter(scanTimesPerSecond, scanTimesPerSecond),
	}
	if err := handler.IndexImages(ctx, env.Cluster); err != nil {
		return err
	}
	images := stage.New(env.Stages, state.StageScan, scanner, stage.Options{
		Slots: c.Concurrency, Objects: listFrom(env), Backoff: handler.Backoff, Hints: scanner.Hinted,
	})
	if err := env.Cluster.Watch(ctx, &imagev1.ImageRepository{}, handler.Handled, images); err != nil {
		return err
	}
	if err := env.StartCache(ctx); err != nil {
		return err
	}
	env.Ready()
	images.Run(ctx)
	return nil
}

// listFrom lists the ImageRepositories in the cache.
func listFrom(env *service.Env) func(context.Context) ([]types.NamespacedName, error) {
	return func(ctx context.Context) ([]types.NamespacedName, error) {
		var list imagev1.ImageRepositoryList
		if err := env.Cluster.Cache.List(ctx, &list); err != nil {
			return nil, fmt.Errorf("list image repositories: %w", err)
		}
		keys := make([]types.NamespacedName, len(list.Items))
		for i := range list.Items {
			keys[i] = client.ObjectKeyFromObject(&list.Items[i])
		}
		return keys, nil
	}
}

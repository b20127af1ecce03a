// Package app builds image-updater and runs it. It is the one package of the service that others import.
package app

import (
	"context"
	"fmt"
	"sync"
	"time"

	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"

	"github.com/sluice-cd/sluice/libs/git"
	gitaccess "github.com/sluice-cd/sluice/libs/git/access"
	"github.com/sluice-cd/sluice/libs/git/identity"
	"github.com/sluice-cd/sluice/libs/imageaccess"
	"github.com/sluice-cd/sluice/libs/imagecache"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/registry"
	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/version"
	"github.com/sluice-cd/sluice/services/image-updater/internal/config"
	"github.com/sluice-cd/sluice/services/image-updater/internal/handler"
	"github.com/sluice-cd/sluice/services/image-updater/internal/update"
)

// unusedMirror is how long the mirror of a repository that no automation uses is kept.
const unusedMirror = 24 * time.Hour

// eventsPerSecond is how many good news are written as Events in a second; after an installation there is one for each object.
const eventsPerSecond = 20

// Config is what image-updater can be told.
type Config = config.Config

// DefaultConfig returns the settings for a pod.
func DefaultConfig() Config { return config.Default() }

// Run runs image-updater until ctx ends.
func Run(ctx context.Context, env *service.Env, c Config) error {
	if err := env.Cluster.WaitForKinds(ctx, &imagev1.ImageRepository{}, &imagev1.ImagePolicy{}, &automationv1.ImageUpdateAutomation{}); err != nil {
		return err
	}
	cache, err := imagecache.Connect(c.Redis, env.Log, env.Registry)
	if err != nil {
		return fmt.Errorf("open image cache: %w", err)
	}
	defer cache.Close()
	if err := cache.Ping(ctx); err != nil {
		env.Log.Warn("policies wait for the image cache", "err", err)
	}
	events, err := env.Cluster.NewPacedEvents("image-updater", eventsPerSecond)
	if err != nil {
		return err
	}
	defer events.Stop()
	mirrors, err := git.NewMirrors(git.Options{Dir: c.DataDir, InsecureHosts: c.InsecureHosts, Logger: env.Log})
	if err != nil {
		return fmt.Errorf("open mirrors: %w", err)
	}
	defer func() { _ = mirrors.Close() }()
	stages, err := newStages(ctx, env, c, cache, events, mirrors)
	if err != nil {
		return err
	}
	if err := env.StartCache(ctx); err != nil {
		return err
	}
	env.Ready()
	var running sync.WaitGroup
	for _, s := range stages {
		running.Go(func() { s.Run(ctx) })
	}
	running.Go(func() { mirrors.Tidy(ctx, unusedMirror) })
	running.Wait()
	return nil
}

// newStages makes both stages. They share the client of registries, and its budget with all other services.
func newStages(ctx context.Context, env *service.Env, c Config, cache *imagecache.Cache, events *kube.Events, mirrors *git.Mirrors) ([]*stage.Stage, error) {
	registries, err := registry.New(registry.Options{
		Budget: cache.NewBudget(c.Rate), UserAgent: "sluice/" + version.Version, TokenHosts: c.TokenHosts, Connections: c.Policies,
		HostLabel: cache.HostLabel, Registry: env.Registry,
	})
	if err != nil {
		return nil, fmt.Errorf("make client of registries: %w", err)
	}
	access, err := imageaccess.New(env.Cluster, c.ObjectIdentities)
	if err != nil {
		return nil, err
	}
	policies, err := handler.New(ctx, handler.Config{
		Env: env, Events: events, Cache: cache, Registries: registries, Access: access, Slots: c.Policies, VanishedHold: c.VanishedHold,
	})
	if err != nil {
		return nil, err
	}
	issuer, err := identity.NewIssuer(env.Cluster.Client, c.ObjectIdentities)
	if err != nil {
		return nil, err
	}
	updates, err := update.New(ctx, update.Config{
		Env: env, Events: events, Cache: cache, Registries: registries, Access: access, Slots: c.Updates, Quiet: c.Quiet, MaxWait: c.MaxWait, Images: c.Images,
		Mirrors: mirrors, Git: &gitaccess.Reader{Secrets: env.Cluster, Mirrors: mirrors, Identity: issuer},
	})
	if err != nil {
		return nil, err
	}
	return []*stage.Stage{policies, updates}, nil
}

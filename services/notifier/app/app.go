// Package app builds notifier and runs it. It is the one package of the service that others import.
package app

import (
	"context"
	"fmt"
	"sync"

	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"

	"github.com/sluice-cd/sluice/libs/git/identity"
	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/services/notifier/internal/cloud"
	"github.com/sluice-cd/sluice/services/notifier/internal/config"
	"github.com/sluice-cd/sluice/services/notifier/internal/handler"
)

// Config is what notifier can be told.
type Config = config.Config

// DefaultConfig returns the settings for a pod.
func DefaultConfig() Config { return config.Default() }

// Run runs notifier until ctx ends.
func Run(ctx context.Context, env *service.Env, c Config) error {
	clouds, err := cloud.New(env.Cluster.Client, c.ObjectIdentities)
	if err != nil {
		return err
	}
	apps, err := identity.NewIssuer(env.Cluster.Client, c.ObjectIdentities)
	if err != nil {
		return err
	}
	return run(ctx, env, handler.Sending{
		Cluster: c.Cluster, MaxAge: c.MaxAge, GroupWait: c.GroupWait, Channels: c.Channels, AllowPrivate: c.AllowPrivate, NoLocal: !c.AllowLocal, Clock: handler.RealClock(),
		Cloud: clouds.For, Apps: apps,
	})
}

func run(ctx context.Context, env *service.Env, sending handler.Sending) error {
	if err := env.Cluster.WaitForKinds(ctx, append(handler.Kinds(), &notifyv1.Alert{}, &notifyv1.Provider{})...); err != nil {
		return err
	}
	events, err := env.Cluster.NewEvents("notifier")
	if err != nil {
		return err
	}
	defer events.Stop()
	news, notify := handler.NewNews(env, events), handler.NewNotify(env, events, sending)
	if err := handler.Watch(ctx, env.Cluster, news, notify); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	if err := env.StartCache(ctx); err != nil {
		return err
	}
	env.Ready()
	var running sync.WaitGroup
	for _, s := range []*stage.Stage{news, notify} {
		running.Go(func() { s.Run(ctx) })
	}
	running.Wait()
	return nil
}

// Package app builds webhook-receiver and runs it. It is the one package of the service that others import.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	receiverv1 "github.com/fluxcd/notification-controller/api/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/services/webhook-receiver/internal/config"
	"github.com/sluice-cd/sluice/services/webhook-receiver/internal/door"
	"github.com/sluice-cd/sluice/services/webhook-receiver/internal/handler"
	"github.com/sluice-cd/sluice/services/webhook-receiver/internal/intake"
	"github.com/sluice-cd/sluice/services/webhook-receiver/internal/verify"
)

// Config is what webhook-receiver can be told.
type Config = config.Config

// DefaultConfig returns the settings for a pod.
func DefaultConfig() Config { return config.Default() }

// slots is how many Receivers are looked at at once.
const slots = 8

// Run runs webhook-receiver until ctx ends.
func Run(ctx context.Context, env *service.Env, c Config) error {
	if err := env.Cluster.WaitForKinds(ctx, &receiverv1.Receiver{}); err != nil {
		return err
	}
	events, err := env.Cluster.NewEvents("webhook-receiver")
	if err != nil {
		return err
	}
	defer events.Stop()
	receivers := stage.New(env.Stages, state.StageReceive, &handler.Receivers{
		Cluster: env.Cluster, Events: events, NoCrossNamespaceRefs: env.NoCrossNamespaceRefs,
	}, stage.Options{Slots: slots, Objects: listFrom(env), Backoff: handler.Backoff})
	if err := env.Cluster.Watch(ctx, &receiverv1.Receiver{}, handler.Handled, receivers); err != nil {
		return err
	}
	doors := door.NewDoors()
	keeper, err := handler.NewKeeper(ctx, env.Cluster, doors, env.Log, env.NoCrossNamespaceRefs, receivers)
	if err != nil {
		return err
	}
	if err := env.StartCache(ctx); err != nil {
		return err
	}
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop, err := serve(ctx, env, c, doors, keeper, &running)
	if err != nil {
		return err
	}
	defer stop()
	env.Ready()
	running.Go(func() { keeper.Run(ctx) })
	running.Go(func() {
		foreign := &handler.Foreign{Cluster: env.Cluster, Log: env.Log}
		stage.FollowHints(ctx, env.Bus, env.Log, handler.FollowerName, foreign.Use)
	})
	receivers.Run(ctx)
	return nil
}

// serve takes calls until stop is called; before it returns, all keys are known, and the calls that other replicas took.
func serve(ctx context.Context, env *service.Env, c Config, doors *door.Doors, keeper *handler.Keeper, running *sync.WaitGroup) (stop func(), err error) {
	if c.Addr == "" {
		return func() {}, nil
	}
	taking, err := newIntake(env, c, doors, keeper)
	if err != nil {
		return nil, err
	}
	secret, err := c.Secret()
	if err != nil {
		return nil, err
	}
	own := &handler.Own{Cluster: env.Cluster, Doors: doors, Log: env.Log, Secret: secret, Dir: c.EndpointKeysDir}
	if err := errors.Join(keeper.LoadAll(ctx), own.Load(ctx)); err != nil {
		env.Log.Warn("not all keys could be read yet", "err", err)
	}
	running.Go(func() { own.Run(ctx) })
	ready := make(chan struct{})
	running.Go(func() { taking.Seen.Follow(ctx, env.Bus, env.Log, func() { close(ready) }) })
	select {
	case <-ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(seenTime):
		env.Log.Warn("taking calls before all that other replicas took are known")
	}
	// The writer outlives the server: calls under way get their answer.
	writing, endWriting := context.WithCancel(context.WithoutCancel(ctx))
	running.Go(func() { taking.Writer.Run(writing) })
	at, close, err := listen(c.Addr, taking, env.Log)
	if err != nil {
		endWriting()
		return nil, err
	}
	env.Log.Info("taking calls", "addr", at.String())
	return func() { close(); endWriting() }, nil
}

// seenTime bounds how long calls are held up by reading which ones were taken before.
const seenTime = 20 * time.Second

func newIntake(env *service.Env, c Config, doors *door.Doors, keeper *handler.Keeper) (*intake.Intake, error) {
	metrics, err := intake.NewMetrics(env.Registry)
	if err != nil {
		return nil, err
	}
	sources, err := c.Sources()
	if err != nil {
		return nil, err
	}
	proxies, err := c.Proxies()
	if err != nil {
		return nil, err
	}
	i := &intake.Intake{
		Options: intake.Options{
			MaxBody: c.MaxBody, Sources: sources, TrustedProxies: proxies, SourceRate: c.SourceRate, SourceBurst: c.SourceBurst, Concurrency: c.Concurrency,
		},
		Doors: doors, Keeper: keeper, Issuers: verify.NewIssuers(c.Issuers, c.GoogleKeysURL), Objects: &intake.Objects{Cluster: env.Cluster, Log: env.Log},
		Seen: intake.NewSeen(c.ReplayWindow), Writer: intake.NewWriter(env.Bus, metrics.Write), Metrics: metrics, Tracer: env.Tracer, Log: env.Log,
	}
	return i.Prepare(), nil
}

// listen serves calls on addr. Who sends slowly, or nothing, is not waited for.
func listen(addr string, h http.Handler, log *slog.Logger) (at net.Addr, stop func(), err error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, nil, fmt.Errorf("listen for calls: %w", err)
	}
	server := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 40 * time.Second, IdleTimeout: 90 * time.Second,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("server for calls ended", "addr", addr, "err", err)
		}
	}()
	return listener.Addr(), func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
	}, nil
}

// listFrom lists the Receivers in the cache.
func listFrom(env *service.Env) func(context.Context) ([]types.NamespacedName, error) {
	return func(ctx context.Context) ([]types.NamespacedName, error) {
		var list receiverv1.ReceiverList
		if err := env.Cluster.Cache.List(ctx, &list); err != nil {
			return nil, fmt.Errorf("list receivers: %w", err)
		}
		keys := make([]types.NamespacedName, len(list.Items))
		for i := range list.Items {
			keys[i] = client.ObjectKeyFromObject(&list.Items[i])
		}
		return keys, nil
	}
}

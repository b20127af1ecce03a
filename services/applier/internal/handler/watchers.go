package handler

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/services/applier/internal/live"
)

// Watchers follow what was applied, in this cluster and in others. A nil one follows nothing.
type Watchers struct {
	own    *live.Watcher
	others *live.Pool
}

// newWatchers makes the watchers; check looks at a Kustomization of which an object may be another than before.
func (a *Applier) newWatchers(log *slog.Logger, check func(context.Context, types.NamespacedName) time.Duration) (*Watchers, error) {
	options := live.Options{Config: a.Cluster.Config, Mapper: a.Cluster.Client.RESTMapper(), Manager: kube.FieldManager, Log: log, Check: check}
	own, err := live.NewWatcher(options)
	if err != nil {
		return nil, err
	}
	another := func(c *rest.Config) (*live.Watcher, string, error) {
		c.UserAgent = a.Cluster.Config.UserAgent
		w, err := newWatcher(c, options)
		return w, clusterName(c), err
	}
	return &Watchers{own, live.NewPool(live.PoolOptions{Find: a.find, Make: another, Most: a.WatchedClusters, Log: log})}, nil
}

// askKinds bounds the question to another cluster how it serves a kind.
const askKinds = 5 * time.Second

// newWatcher makes the watcher of another cluster. It does not talk to it yet.
func newWatcher(c *rest.Config, o live.Options) (*live.Watcher, error) {
	c.WarningHandler = rest.NoWarnings{}
	bounded := rest.CopyConfig(c)
	bounded.Timeout = askKinds
	asking, err := rest.HTTPClientFor(bounded)
	if err != nil {
		return nil, fmt.Errorf("make client for kinds: %w", err)
	}
	if o.Mapper, err = apiutil.NewDynamicRESTMapper(bounded, asking); err != nil {
		return nil, fmt.Errorf("make client for kinds: %w", err)
	}
	o.Config = c
	return live.NewWatcher(o)
}

// Run watches until ctx ends.
func (w *Watchers) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { w.own.Run(ctx) })
	all.Go(func() { w.others.Run(ctx) })
	all.Wait()
}

// of returns the watcher that follows a Kustomization in a cluster, this one if that is empty; nil where there is none.
func (w *Watchers) of(key types.NamespacedName, cluster string) *live.Watcher {
	switch {
	case w == nil:
		return nil
	case cluster == "":
		return w.own
	}
	return w.others.Of(key, cluster)
}

// follow sets what is followed for a Kustomization, in its cluster alone.
func (w *Watchers) follow(k *kustomizev1.Kustomization, i live.Interest) {
	key := client.ObjectKeyFromObject(k)
	if k.Spec.KubeConfig == nil {
		w.others.Forget(key)
		w.own.Follow(key, i)
		return
	}
	w.own.Forget(key)
	w.others.Follow(key, placeOf(k), i)
}

func (w *Watchers) forget(key types.NamespacedName) {
	w.own.Forget(key)
	w.others.Forget(key)
}

// changed has the description of a Kustomization's cluster read anew.
func (w *Watchers) changed(k *kustomizev1.Kustomization) {
	if w != nil && k.Spec.KubeConfig != nil {
		w.others.Changed(placeOf(k))
	}
}

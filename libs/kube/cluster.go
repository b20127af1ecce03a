// Package kube is how services meet the Kubernetes API: one client, one cache of the custom resources, the wake-ups that
// their changes cause, conditions as Flux's tools read them, and Events.
// What a service does with an object is not its concern.
package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	receiverv1 "github.com/fluxcd/notification-controller/api/v1"
	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Options say which cluster and which of its objects a service looks at.
type Options struct {
	Kubeconfig string // path; empty for the service account of the pod
	// WatchLabelSelector restricts the custom resources that are served, as in Flux; empty for all.
	WatchLabelSelector string
	UserAgent          string
	Sharers            int // services that share the connection in one process; 0 means one
	Log                *slog.Logger
}

// Cluster is a connection to one API server.
type Cluster struct {
	Config *rest.Config
	Client client.Client // reads and writes the API server itself, past the cache
	Cache  cache.Cache   // holds the custom resources that were watched with Watch
	// Selective says that the cache holds but some objects of each kind, by Options.WatchLabelSelector.
	Selective bool

	log     *slog.Logger
	starts  sync.WaitGroup // calls of Start that are still to come
	started sync.Once
}

// Scheme knows the kinds that Sluice serves.
func Scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(s))
	utilruntime.Must(sourcev1.AddToScheme(s))
	utilruntime.Must(kustomizev1.AddToScheme(s))
	utilruntime.Must(imagev1.AddToScheme(s))
	utilruntime.Must(automationv1.AddToScheme(s))
	utilruntime.Must(receiverv1.AddToScheme(s))
	utilruntime.Must(notifyv1.AddToScheme(s))
	return s
}

// RESTConfig reads a kubeconfig file, or the pod's own credentials when path is empty. Client-side throttling is off: what limits
// requests is how many each service makes at once, and the server's own priority and fairness.
func RESTConfig(path, userAgent string) (*rest.Config, error) {
	var cfg *rest.Config
	var err error
	if path == "" {
		cfg, err = rest.InClusterConfig()
	} else {
		cfg, err = clientcmd.BuildConfigFromFlags("", path)
	}
	if err != nil {
		return nil, fmt.Errorf("find cluster: %w", err)
	}
	cfg.QPS, cfg.Burst = -1, -1
	cfg.WarningHandler = rest.NoWarnings{} // the finalizer is Flux's name, and the server would warn of it at each write
	cfg.UserAgent = userAgent
	return cfg, nil
}

// Connect makes the client and the cache. It does not talk to the API server yet.
func Connect(o Options) (*Cluster, error) {
	cfg, err := RESTConfig(o.Kubeconfig, o.UserAgent)
	if err != nil {
		return nil, err
	}
	selector, err := labels.Parse(o.WatchLabelSelector)
	if err != nil {
		return nil, fmt.Errorf("watch label selector %q: %w", o.WatchLabelSelector, err)
	}
	scheme := Scheme()
	live, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	objects, err := cache.New(cfg, cache.Options{
		Scheme: scheme, Mapper: newCoreMapper(live.RESTMapper()), DefaultLabelSelector: selector, DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: referenced(),
	})
	if err != nil {
		return nil, fmt.Errorf("make cache: %w", err)
	}
	c := &Cluster{Config: cfg, Client: live, Cache: objects, Selective: !selector.Empty(), log: o.Log}
	c.starts.Add(max(1, o.Sharers))
	return c, nil
}

// Start fills the cache with what was watched and returns when it is filled; it stays up to date until ctx ends. Where several share
// the cluster, each calls Start once, and the cache starts when all have said what they watch: it takes no index later.
func (c *Cluster) Start(ctx context.Context) error {
	c.starts.Done()
	all := make(chan struct{})
	go func() { c.starts.Wait(); close(all) }()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-all:
	}
	c.started.Do(func() {
		go func() {
			if err := c.Cache.Start(ctx); err != nil {
				c.log.Error("cache ended", "err", err)
			}
		}()
	})
	if !c.Cache.WaitForCacheSync(ctx) {
		return fmt.Errorf("fill caches: %w", context.Cause(ctx))
	}
	return nil
}

// WaitForKinds returns when the API server is there and serves the kinds, so that services may start before their CRDs are installed.
func (c *Cluster) WaitForKinds(ctx context.Context, kinds ...client.Object) error {
	for attempt := 0; ; attempt++ {
		err := c.probe(ctx, kinds)
		if err == nil {
			return nil
		}
		if attempt%20 == 0 {
			c.log.Warn("cluster not ready for us yet, trying on", "err", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (c *Cluster) probe(ctx context.Context, kinds []client.Object) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, kind := range kinds {
		err := c.Client.Get(ctx, types.NamespacedName{Namespace: "default", Name: "sluice-probe"}, kind.DeepCopyObject().(client.Object))
		if err != nil && (!apierrors.IsNotFound(err) || isKindMissing(err)) {
			return fmt.Errorf("probe %T: %w", kind, err)
		}
	}
	return nil
}

// isKindMissing tells "no such kind" from "no such object": both are 404.
func isKindMissing(err error) bool {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		d := status.Status().Details
		return d == nil || d.Name == ""
	}
	return apimeta.IsNoMatchError(err)
}

// Read gets an object that is at least of the given generation, zero for any: from the cache where that has it, otherwise from the API
// server. Caches lag, and not equally in all replicas: whoever was woken by a spec must not act on an older one, and whoever changes
// a cluster by what it reads here needs another proof that it is the latest.
func (c *Cluster) Read(ctx context.Context, key types.NamespacedName, obj client.Object, generation int64) error {
	err := c.Cache.Get(ctx, key, obj)
	if err == nil && obj.GetGeneration() >= generation {
		return nil
	}
	return c.Client.Get(ctx, key, obj)
}

// Secret reads a Secret's data from the API server: Secrets are in no cache of ours.
func (c *Cluster) Secret(ctx context.Context, key types.NamespacedName) (map[string][]byte, error) {
	var s corev1.Secret
	if err := c.Client.Get(ctx, key, &s); err != nil {
		return nil, fmt.Errorf("read secret %s: %w", key, err)
	}
	return s.Data, nil
}

// Package up runs all services of Sluice in one process: the same code on the same bus, which is embedded.
package up

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/embedded"
	"github.com/sluice-cd/sluice/libs/heap"
	"github.com/sluice-cd/sluice/libs/imagecache"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/seal"
	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/libs/version"
	applier "github.com/sluice-cd/sluice/services/applier/app"
	gitwatcher "github.com/sluice-cd/sluice/services/git-watcher/app"
	updater "github.com/sluice-cd/sluice/services/image-updater/app"
	renderer "github.com/sluice-cd/sluice/services/manifest-renderer/app"
	notifier "github.com/sluice-cd/sluice/services/notifier/app"
	scanner "github.com/sluice-cd/sluice/services/registry-scanner/app"
	receiver "github.com/sluice-cd/sluice/services/webhook-receiver/app"
	"github.com/sluice-cd/sluice/tools/internal/install"
)

// Options of `sluice up`.
type Options struct {
	service.Config
	DataDir      string        // JetStream's files, mirrors and keys
	InstallCRDs  bool          // install or update the custom resource definitions first
	SyncInterval time.Duration // longest time between a write of the bus and its fsync; 0 syncs every write

	Git    gitwatcher.Config
	Render renderer.Config
	Apply  applier.Config
	Scan   scanner.Config
	Update updater.Config
	Notify notifier.Config
	Hooks  receiver.Config
}

// DefaultOptions returns the settings for one machine.
func DefaultOptions() *Options {
	o := &Options{
		InstallCRDs: true, Git: gitwatcher.DefaultConfig(), Render: renderer.DefaultConfig(), Apply: applier.DefaultConfig(),
		Scan: scanner.DefaultConfig(), Update: updater.DefaultConfig(), Hooks: receiver.DefaultConfig(), Notify: notifier.DefaultConfig(),
	}
	o.Hooks.Addr = ""
	o.Notify.AllowLocal = true // it is no pod, and who runs it here may be told things here
	o.Git.ArtifactAddr, o.Git.ArtifactURL = "127.0.0.1:0", ""
	return o
}

// AddFlags defines a flag for each setting.
func (o *Options) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Kubeconfig, "kubeconfig", os.Getenv("KUBECONFIG"), "kubeconfig file; empty for the pod's service account")
	f.StringVar(&o.DataDir, "data-dir", "", "directory for JetStream's files, mirrors of repositories and keys")
	f.BoolVar(&o.InstallCRDs, "install-crds", o.InstallCRDs, "install or update the custom resource definitions")
	f.DurationVar(&o.SyncInterval, "sync-interval", 0, "longest time between a write of the bus and its fsync; 0 syncs every write")
	f.StringVar(&o.WatchLabelSelector, "watch-label-selector", "", "serve only custom resources with these labels")
	f.BoolVar(&o.NoCrossNamespaceRefs, "no-cross-namespace-refs", false, "forbid references between namespaces")
	f.IntVar(&o.Apply.WatchedClusters, "watched-clusters", o.Apply.WatchedClusters, "other clusters watched at once, those that the most Kustomizations name; in the others drift is found at the interval")
	f.Int64Var(&o.Render.RemoteBasesDiskBytes, "remote-bases-disk-bytes", o.Render.RemoteBasesDiskBytes, "bytes of repositories of remote bases kept on disk, beside those that are being fetched")
	f.StringVar(&o.Apply.DefaultServiceAccount, "default-service-account", "", "service account to impersonate where a Kustomization names none")
	f.StringVar(&o.Render.SOPSAgeSecret, "sops-age-secret", "", "Secret (namespace/name) with age keys for Kustomizations whose spec.decryption names no Secret")
	f.BoolVar(&o.Render.StrictSubstitution, "strict-substitution", false, "fail on variables without a value")
	f.BoolVar(&o.Render.NoRemoteBases, "no-remote-bases", false, "refuse kustomizations that name bases, components or files by address")
	f.StringVar(&o.Apply.DefaultKubeConfigServiceAccount, "default-kubeconfig-service-account", "", "service account to authenticate at other clusters with, where a ConfigMap of spec.kubeConfig names none")
	f.BoolVar(&o.Apply.ObjectIdentities, "object-level-workload-identity", false, "let GitRepositories, ImageRepositories, Providers, spec.decryption and ConfigMaps of spec.kubeConfig name service accounts to authenticate with")
	f.StringVar(&o.Render.DefaultDecryptionServiceAccount, "default-decryption-service-account", "", "service account to ask key management services with, where spec.decryption names none")
	f.StringVar(&o.MetricsAddr, "metrics-addr", "", "listen address of /metrics, /healthz and /readyz; empty for none")
	f.StringVar(&o.Git.ArtifactAddr, "artifact-addr", o.Git.ArtifactAddr, "listen address for artifacts over HTTP; empty for none")
	f.StringVar(&o.Git.ArtifactURL, "artifact-url", o.Git.ArtifactURL, "base URL under which others reach --artifact-addr; empty for the address itself")
	f.StringVar(&o.Hooks.Addr, "webhook-addr", o.Hooks.Addr, "listen address for calls of hosts (webhooks), for instance :9292; empty for none")
	o.Hooks.AddWebhookFlags(f)
	o.Scan.AddRegistryFlags(f)
	o.Update.AddUpdateFlags(f)
	o.Notify.AddNotifyFlags(f)
	o.AddLogFlags(f)
}

// Run runs everything until ctx ends, and says on one line to out when it is ready.
func Run(ctx context.Context, o *Options, out io.Writer) error {
	heap.Trim(heap.Service)
	if err := service.NoticeSilence(); err != nil {
		return err
	}
	log, err := o.Logger()
	if err != nil {
		return err
	}
	ctrllog.SetLogger(logr.FromSlogHandler(log.Handler()))
	loud, err := renderer.Quiet(log)
	if err != nil {
		return err
	}
	defer loud()
	o.Git.DataDir, o.Update.DataDir = filepath.Join(o.DataDir, "git"), filepath.Join(o.DataDir, "updater")
	o.shareIdentities(o.Apply.ObjectIdentities)
	key := filepath.Join(o.DataDir, "keys", "seal.key")
	if err := seal.EnsureKeyFile(key); err != nil {
		return err
	}
	o.Render.SealKeyFile, o.Apply.SealKeyFile = key, key
	server, err := startBus(o, log)
	if err != nil {
		return err
	}
	defer server.Stop()
	cache, opened, err := imagecache.StartEmbeddedIn(filepath.Join(o.DataDir, "keys"))
	if err != nil {
		return err
	}
	defer cache.Stop()
	o.Scan.Redis, o.Update.Redis = opened, opened
	o.Update.Rate, o.Update.TokenHosts, o.Update.Images = o.Scan.Rate, o.Scan.TokenHosts, o.Scan.Rules
	if err := o.validate(); err != nil {
		return err
	}
	env, closeEnv, err := connect(ctx, o, log, server)
	if err != nil {
		return ignoreEnd(ctx, err)
	}
	defer closeEnv()
	if o.InstallCRDs {
		if _, err := install.CRDs(ctx, env.Cluster.Config, install.Options{}); err != nil {
			return ignoreEnd(ctx, err)
		}
	}
	return ignoreEnd(ctx, runServices(ctx, o, env, out))
}

// validate says what is wrong with the settings of the services, by flag.
func (o *Options) validate() error {
	for _, service := range []interface{ Validate() error }{&o.Git, &o.Render, &o.Apply, &o.Scan, &o.Update, &o.Hooks, &o.Notify} {
		if err := service.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// shareIdentities lets objects of all kinds name service accounts, or of none.
func (o *Options) shareIdentities(allowed bool) {
	o.Git.ObjectIdentities, o.Render.ObjectIdentities, o.Scan.ObjectIdentities, o.Update.ObjectIdentities = allowed, allowed, allowed, allowed
	o.Notify.ObjectIdentities = allowed
}

func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func connect(ctx context.Context, o *Options, log *slog.Logger, server *embedded.Server) (*service.Env, func(), error) {
	holder := service.Holder("sluice")
	tracer, flush, err := service.NewTracer(ctx, "sluice")
	if err != nil {
		return nil, nil, err
	}
	conn, err := bus.Connect(ctx, bus.Options{Name: holder, InProcess: server, User: busUser, PasswordFile: passwordFile(o.DataDir), Log: log})
	if err != nil {
		return nil, nil, err
	}
	cluster, err := kube.Connect(kube.Options{
		Kubeconfig: o.Kubeconfig, WatchLabelSelector: o.WatchLabelSelector, UserAgent: "sluice/" + version.Version, Sharers: 7, Log: log,
	})
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	env := service.NewEnv(service.Deps{
		Log: log, Registry: service.NewRegistry(), Tracer: tracer, Bus: conn, Cluster: cluster, NoCrossNamespaceRefs: o.NoCrossNamespaceRefs,
	}, holder)
	return env, func() { conn.Close(); flush() }, nil
}

// runServices runs the services side by side; the first that fails ends the others.
func runServices(ctx context.Context, o *Options, env *service.Env, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	runs := map[string]func(context.Context, *service.Env) error{
		"git-watcher":       func(ctx context.Context, e *service.Env) error { return gitwatcher.Run(ctx, e, o.Git) },
		"manifest-renderer": func(ctx context.Context, e *service.Env) error { return renderer.Run(ctx, e, o.Render) },
		"applier":           func(ctx context.Context, e *service.Env) error { return applier.Run(ctx, e, o.Apply) },
		"registry-scanner":  func(ctx context.Context, e *service.Env) error { return scanner.Run(ctx, e, o.Scan) },
		"image-updater":     func(ctx context.Context, e *service.Env) error { return updater.Run(ctx, e, o.Update) },
		"notifier":          func(ctx context.Context, e *service.Env) error { return notifier.Run(ctx, e, o.Notify) },
		"webhook-receiver":  func(ctx context.Context, e *service.Env) error { return receiver.Run(ctx, e, o.Hooks) },
	}
	probes := &service.Probes{}
	stopProbes, err := service.Serve(o.MetricsAddr, env.Registry, probes, env.Log)
	if err != nil {
		return err
	}
	defer stopProbes()
	var waiting, running sync.WaitGroup
	waiting.Add(len(runs))
	errs := make(chan error, len(runs))
	for name, run := range runs {
		own := *env
		own.Log = env.Log.With("service", name)
		own.Ready = sync.OnceFunc(waiting.Done)
		running.Go(func() {
			if err := run(ctx, &own); err != nil {
				errs <- fmt.Errorf("%s: %w", name, err)
				cancel()
			}
		})
	}
	go func() {
		waiting.Wait()
		probes.Ready(env.Bus.Healthy)
		fmt.Fprintf(out, "ready: sluice %s serves %s from %s\n", version.Version, env.Cluster.Config.Host, o.DataDir)
	}()
	running.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}

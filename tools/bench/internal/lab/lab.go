package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/go-logr/logr"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sluice-cd/sluice/libs/controlplane"
	"github.com/sluice-cd/sluice/libs/gittest"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/localrun"
	"github.com/sluice-cd/sluice/tools/bench/internal/gauge"
	"github.com/sluice-cd/sluice/tools/bench/internal/workload"
)

// Options say how large the fleet is and how it is served.
type Options struct {
	Apps         int
	Interval     time.Duration // of all custom resources
	Timeout      time.Duration // of everything that is waited for
	SyncInterval time.Duration // of the bus; 0 syncs every write
	Flags        []string      // more flags for every service
	Keep         bool          // leave the folder with data and logs
	Progress     io.Writer
}

// Lab is all that a measurement needs.
type Lab struct {
	Options Options
	Dir     string // data and logs
	Plane   *controlplane.ControlPlane
	Sluice  *localrun.Installation
	Client  client.Client  // counted as the benchmark's own
	API     rest.Interface // the same, for plain requests
	Meter   *gauge.Meter

	// Apps are the Kustomizations by name.
	Apps *Tracker[*kustomizev1.Kustomization]
	// Values are those of the applications' ConfigMaps, by namespace.
	Values *Tracker[string]

	server     *gittest.Server
	repository *gittest.Repository
	head       string
	requests   int // for a reconciliation, so far
	own        *gauge.Own
	bus        *nats.Conn
	config     *rest.Config
}

// Start brings everything up, with the repository and the namespaces in place and no custom resource yet.
func Start(ctx context.Context, o Options) (_ *Lab, err error) {
	log.SetLogger(logr.Discard()) // of the caches; what goes wrong with them shows as a state that does not come
	l := &Lab{Options: o, own: gauge.NewOwn(), Apps: NewTracker[*kustomizev1.Kustomization](), Values: NewTracker[string]()}
	if l.Dir, err = os.MkdirTemp("", "sluice-bench-"); err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"building the programs", l.build},
		{"starting the control plane", l.startPlane},
		{"starting the git server", l.startGit},
		{"making namespaces", l.makeNamespaces},
		{"starting Sluice", l.startSluice},
		{"watching", l.watch},
	} {
		l.Say("%s", step.what)
		if err := step.do(ctx); err != nil {
			return nil, errors.Join(err, l.Stop())
		}
	}
	return l, nil
}

// Say tells what goes on.
func (l *Lab) Say(format string, args ...any) {
	fmt.Fprintf(l.Options.Progress, "%s  %s\n", time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

// Stop ends everything.
func (l *Lab) Stop() error {
	if l.bus != nil {
		l.bus.Close()
	}
	if l.Sluice != nil {
		l.Sluice.Stop()
	}
	var errs []error
	if l.server != nil {
		errs = append(errs, l.server.Close())
	}
	if l.Plane != nil {
		errs = append(errs, l.Plane.Stop())
	}
	if l.Options.Keep {
		l.Say("data and logs are in %s", l.Dir)
	} else {
		errs = append(errs, os.RemoveAll(l.Dir))
	}
	return errors.Join(errs...)
}

func (l *Lab) bin() string { return filepath.Join(l.Dir, "bin") }

func (l *Lab) build(ctx context.Context) error {
	root, err := Root()
	if err != nil {
		return err
	}
	if err := os.Mkdir(l.bin(), 0o755); err != nil {
		return fmt.Errorf("make a folder for programs: %w", err)
	}
	return build(ctx, root, l.bin())
}

func (l *Lab) startPlane(ctx context.Context) error {
	var err error
	if l.Plane, err = controlplane.Start(ctx, controlplane.Options{Dir: filepath.Join(l.Dir, "controlplane"), Progress: l.Options.Progress}); err != nil {
		return err
	}
	l.config = l.Plane.RESTConfig()
	l.config.Wrap(l.own.Wrap)
	l.config.UserAgent = "sluice-bench"
	scheme := kube.Scheme()
	utilruntime.Must(apiextensionsv1.AddToScheme(scheme))
	if l.Client, err = client.New(l.config, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	plain, err := discovery.NewDiscoveryClientForConfig(l.config)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	l.API = plain.RESTClient()
	return l.installCRDs(ctx)
}

func (l *Lab) startGit(ctx context.Context) error {
	dir := filepath.Join(l.Dir, "git")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("make a folder for git: %w", err)
	}
	var err error
	if l.server, err = gittest.NewServer(dir, gittest.Options{}); err != nil {
		return err
	}
	if l.repository, err = l.server.CreateRepository(ctx, "fleet"); err != nil {
		return err
	}
	files, err := workload.Files(l.Options.Apps)
	if err != nil {
		return err
	}
	l.head, err = l.repository.Commit(ctx, gittest.Commit{Branch: workload.Branch, Files: files})
	return err
}

// RepositoryURL is where Sluice fetches from.
func (l *Lab) RepositoryURL() string { return l.server.URL("fleet") }

func (l *Lab) startSluice(ctx context.Context) error {
	dir := filepath.Join(l.Dir, "sluice")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("make a folder for Sluice: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var err error
	l.Sluice, err = localrun.Start(ctx, localrun.Options{
		BinDir: l.bin(), Dir: dir, Kubeconfig: l.Plane.Kubeconfig(), Flags: l.Options.Flags, SyncInterval: l.Options.SyncInterval,
	})
	if err != nil {
		return err
	}
	streams, err := l.connectBus()
	if err != nil {
		return err
	}
	l.Meter = &gauge.Meter{
		API: l.API, Own: l.own, Bus: streams, Processes: map[string]int{"nats-server": l.Sluice.Bus().PID()}, Metrics: map[string]string{}, Beside: l.Plane.PIDs(),
	}
	l.Meter.Beside["benchmark"] = os.Getpid()
	for _, r := range l.Sluice.Replicas("") {
		l.Meter.Processes[r.Service] = r.PID()
		l.Meter.Metrics[r.Service] = r.MetricsURL()
	}
	return nil
}

// connectBus connects only to look at how much the bus stores.
func (l *Lab) connectBus() (jetstream.JetStream, error) {
	var err error
	if l.bus, err = nats.Connect(l.Sluice.NATSURL()); err != nil {
		return nil, fmt.Errorf("connect to the bus: %w", err)
	}
	streams, err := jetstream.New(l.bus)
	if err != nil {
		return nil, fmt.Errorf("connect to the bus: %w", err)
	}
	return streams, nil
}

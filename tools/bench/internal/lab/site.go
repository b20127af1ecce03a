package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

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
)

// SiteOptions say what a Site is made of.
type SiteOptions struct {
	Packages []string // of the programs, below the project's folder
	BinDir   string   // holds the programs; empty to build them
	Probes   []client.Object
	Keep     bool // leave the folder with data and logs
	Progress io.Writer
}

// Site is what every benchmark stands on: a folder, the programs, the control plane with Sluice's definitions, and a git server in this
// process. Whoever starts Sluice there gives it to Serve.
type Site struct {
	Dir    string // data and logs
	Plane  *controlplane.ControlPlane
	Git    *gittest.Server
	Client client.WithWatch // counted as the benchmark's own
	API    rest.Interface   // the same, for plain requests
	Sluice *localrun.Installation
	Meter  *gauge.Meter

	options SiteOptions
	own     *gauge.Own
	bus     *nats.Conn
	config  *rest.Config
}

// StartSite brings a Site up. Creates of objects like the probes are taken without delay when it returns.
func StartSite(ctx context.Context, o SiteOptions) (_ *Site, err error) {
	log.SetLogger(logr.Discard()) // of the caches; what goes wrong with them shows as a state that does not come
	s := &Site{options: o, own: gauge.NewOwn()}
	if s.Dir, err = os.MkdirTemp("", "sluice-bench-"); err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"building the programs", s.build},
		{"starting the control plane", s.startPlane},
		{"starting the git server", s.startGit},
	} {
		s.Say("%s", step.what)
		if err := step.do(ctx); err != nil {
			return nil, errors.Join(err, s.Stop())
		}
	}
	return s, nil
}

// Say tells what goes on.
func (s *Site) Say(format string, args ...any) {
	fmt.Fprintf(s.options.Progress, "%s  %s\n", time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

// Stop ends everything.
func (s *Site) Stop() error {
	if s.bus != nil {
		s.bus.Close()
	}
	if s.Sluice != nil {
		s.Sluice.Stop()
	}
	var errs []error
	if s.Git != nil {
		errs = append(errs, s.Git.Close())
	}
	if s.Plane != nil {
		errs = append(errs, s.Plane.Stop())
	}
	if s.options.Keep {
		s.Say("data and logs are in %s", s.Dir)
	} else {
		errs = append(errs, os.RemoveAll(s.Dir))
	}
	return errors.Join(errs...)
}

// BinDir holds the programs.
func (s *Site) BinDir() string {
	if s.options.BinDir != "" {
		return s.options.BinDir
	}
	return filepath.Join(s.Dir, "bin")
}

// Folder makes a folder for data.
func (s *Site) Folder(name string) (string, error) {
	dir := filepath.Join(s.Dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", fmt.Errorf("make a folder: %w", err)
	}
	return dir, nil
}

func (s *Site) build(ctx context.Context) error {
	if s.options.BinDir != "" {
		return nil
	}
	if _, err := s.Folder("bin"); err != nil {
		return err
	}
	return Build(ctx, s.BinDir(), s.options.Packages)
}

func (s *Site) startPlane(ctx context.Context) error {
	var err error
	if s.Plane, err = controlplane.Start(ctx, controlplane.Options{Dir: filepath.Join(s.Dir, "controlplane"), Progress: s.options.Progress}); err != nil {
		return err
	}
	s.config = s.Plane.RESTConfig()
	s.config.Wrap(s.own.Wrap)
	s.config.UserAgent = "sluice-bench"
	scheme := kube.Scheme()
	utilruntime.Must(apiextensionsv1.AddToScheme(scheme))
	if s.Client, err = client.NewWithWatch(s.config, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	plain, err := discovery.NewDiscoveryClientForConfig(s.config)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	s.API = plain.RESTClient()
	return s.installCRDs(ctx)
}

func (s *Site) startGit(context.Context) error {
	dir, err := s.Folder("git")
	if err != nil {
		return err
	}
	s.Git, err = gittest.NewServer(dir, gittest.Options{})
	return err
}

// Serve takes over Sluice, to be stopped with the rest, and begins to measure the processes that it has now.
func (s *Site) Serve(sluice *localrun.Installation) error {
	s.Sluice = sluice
	streams, err := s.connectBus()
	if err != nil {
		return err
	}
	s.Meter = &gauge.Meter{
		API: s.API, Own: s.own, Bus: streams, Processes: map[string]int{"nats-server": sluice.Bus().PID()}, Metrics: map[string]string{}, Beside: s.Plane.PIDs(),
	}
	s.Meter.Beside["benchmark"] = os.Getpid()
	if cache := sluice.Cache(); cache != nil {
		s.Meter.Processes["cache"] = cache.PID()
	}
	for _, r := range sluice.Replicas("") {
		s.Measure(r)
	}
	return nil
}

// Measure begins to measure a replica, too.
func (s *Site) Measure(r *localrun.Replica) {
	s.Meter.Processes[r.Service] = r.PID()
	s.Meter.Metrics[r.Service] = r.MetricsURL()
}

// End stops a replica, which is measured no more.
func (s *Site) End(r *localrun.Replica) error {
	delete(s.Meter.Processes, r.Service)
	delete(s.Meter.Metrics, r.Service)
	return r.Process.Stop(10 * time.Second)
}

// connectBus connects only to look at how much the bus stores.
func (s *Site) connectBus() (jetstream.JetStream, error) {
	var err error
	if s.bus, err = nats.Connect(s.Sluice.NATSURL()); err != nil {
		return nil, fmt.Errorf("connect to the bus: %w", err)
	}
	streams, err := jetstream.New(s.bus)
	if err != nil {
		return nil, fmt.Errorf("connect to the bus: %w", err)
	}
	return streams, nil
}

package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/pflag"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/go-logr/logr"
	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/heap"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/version"
)

// Main is the main function of a service: it parses flags, connects, runs, and exits with 0 after a signal, 1 on an error and 2 on bad
// flags. own adds the service's flags and returns their check.
func Main(name string, own func(*pflag.FlagSet) func() error, run func(context.Context, *Env) error) {
	var c Config
	f := pflag.NewFlagSet(name, pflag.ContinueOnError)
	c.AddFlags(f)
	check := own(f)
	show := f.Bool("version", false, "print the version and exit")
	err := f.Parse(os.Args[1:])
	switch {
	case errors.Is(err, pflag.ErrHelp):
		os.Exit(0)
	case *show:
		fmt.Println(name, version.Version)
		os.Exit(0)
	case err == nil:
		err = errors.Join(c.Validate(), check())
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(2)
	}
	heap.Trim(heap.Service)
	if err := NoticeSilence(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := runUntil(ctx, name, c, run); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// runUntil connects and runs a service until ctx ends. An error after that is none.
func runUntil(ctx context.Context, name string, c Config, run func(context.Context, *Env) error) error {
	log, err := c.Logger()
	if err != nil {
		return err
	}
	log = log.With("service", name)
	ctrllog.SetLogger(logr.FromSlogHandler(log.Handler()))
	registry := NewRegistry()
	tracer, flush, err := NewTracer(ctx, name)
	if err != nil {
		return err
	}
	defer flush()
	holder := Holder(name)
	c.Bus.Name, c.Bus.Log = holder, log
	probes := &Probes{Pprof: c.Pprof}
	serve, err := Serve(c.MetricsAddr, registry, probes, log)
	if err != nil {
		return err
	}
	defer serve()
	conn, err := bus.Connect(ctx, c.Bus)
	if err != nil {
		return ignoreEnd(ctx, err)
	}
	defer conn.Close()
	cluster, err := kube.Connect(kube.Options{
		Kubeconfig: c.Kubeconfig, WatchLabelSelector: c.WatchLabelSelector, UserAgent: "sluice/" + name + "/" + version.Version, Log: log,
	})
	if err != nil {
		return err
	}
	env := NewEnv(Deps{Log: log, Registry: registry, Tracer: tracer, Bus: conn, Cluster: cluster, NoCrossNamespaceRefs: c.NoCrossNamespaceRefs}, holder)
	env.Ready = func() {
		probes.Ready(conn.Healthy)
		log.Info("ready", "version", version.Version, "holder", holder)
	}
	return ignoreEnd(ctx, run(ctx, env))
}

func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// NewRegistry makes a metrics registry with those of the process itself.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	"google.golang.org/protobuf/types/known/timestamppb"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/localrun"
	hintsv1 "github.com/sluice-cd/sluice/proto/hints/v1"
	"github.com/sluice-cd/sluice/tools/bench/internal/gauge"
	"github.com/sluice-cd/sluice/tools/bench/internal/lab"
)

const namespace = "images"

// bench is all that the measurements need.
type bench struct {
	*lab.Site
	options  *options
	registry *registry
	known    int                 // image repositories that were scanned
	profiled int                 // scans of which there are profiles
	flags    map[string][]string // of services that are started from now on
}

// start brings up everything but the services.
func start(ctx context.Context, o *options) (*bench, error) {
	site, err := lab.StartSite(ctx, lab.SiteOptions{
		Packages: slices.Concat(lab.CommandPackages("sluice", localrun.Bus), lab.ServicePackages(localrun.ImageServices...)),
		BinDir:   o.bin, Keep: o.keep, Progress: o.progress,
		Probes: []client.Object{
			imageRepository("probe.invalid", "probe"), policy("probe"), automation("probe"),
		},
	})
	if err != nil {
		return nil, err
	}
	b := &bench{Site: site, options: o, registry: startRegistry()}
	b.Say("starting bus and cache")
	if err := errors.Join(b.MakeNamespaces(ctx, namespace), b.startSluice(ctx)); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	return b, nil
}

func (b *bench) stop() error {
	defer b.registry.Close()
	return b.Stop()
}

func (b *bench) startSluice(ctx context.Context) error {
	dir, err := b.Folder("sluice")
	if err != nil {
		return err
	}
	unlimited := []string{"--registry-rps", "0"}
	b.flags = map[string][]string{
		"registry-scanner": append(slices.Clone(unlimited), "--pprof", "--concurrency", fmt.Sprint(b.options.concurrency)),
		"image-updater":    append(slices.Clone(unlimited), "--pprof"),
	}
	sluice, err := localrun.New(localrun.Options{
		BinDir: b.BinDir(), Dir: dir, Kubeconfig: b.Plane.Kubeconfig(), Images: true, Redis: b.options.redis, ServiceFlags: b.flags,
	})
	if err != nil {
		return err
	}
	if err := errors.Join(sluice.StartBus(), sluice.StartCache(ctx), sluice.WaitBus(ctx)); err != nil {
		sluice.Stop()
		return err
	}
	return b.Serve(sluice)
}

// need starts services that do not run yet.
func (b *bench) need(ctx context.Context, services ...string) error {
	for _, service := range services {
		if len(b.Sluice.Replicas(service)) > 0 {
			continue
		}
		if _, err := b.serve(ctx, service); err != nil {
			return err
		}
	}
	return nil
}

// serve starts a service and returns when it takes work.
func (b *bench) serve(ctx context.Context, service string) (*localrun.Replica, error) {
	r, err := b.Sluice.StartReplica(service)
	if err != nil {
		return nil, err
	}
	if err := r.WaitReady(ctx); err != nil {
		return nil, err
	}
	b.Measure(r)
	return r, nil
}

// create creates objects, many at once.
func (b *bench) create(ctx context.Context, objects []client.Object) error {
	return lab.Each(b.options.concurrency, objects, func(o client.Object) error { return b.Client.Create(ctx, o) })
}

// call tells of pushed images, a call for each, as webhook-receiver passes it on from registries.
func (b *bench) call(ctx context.Context, images []string) error {
	conn, err := bus.Connect(ctx, bus.Options{URL: b.Sluice.NATSURL(), Name: "bench"})
	if err != nil {
		return err
	}
	defer conn.Close()
	return lab.Each(b.options.concurrency, images, func(image string) error {
		hint := &hintsv1.Hint{Type: "generic", Received: timestamppb.Now(), Images: []string{b.registry.host() + "/" + image}}
		return conn.PublishHints(ctx, &hintsv1.Batch{Hints: []*hintsv1.Hint{hint}})
	})
}

// request asks for runs of objects now, as `flux reconcile` does.
func (b *bench) request(ctx context.Context, objects []client.Object) error {
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, meta.ReconcileRequestAnnotation, time.Now().Format(time.RFC3339Nano))
	return lab.Each(b.options.concurrency, objects, func(o client.Object) error {
		return b.Client.Patch(ctx, o.DeepCopyObject().(client.Object), client.RawPatch("application/merge-patch+json", patch))
	})
}

// follow begins to watch all objects of a kind. What it returns waits until so many of them are as wanted.
func (b *bench) follow(ctx context.Context, list client.ObjectList, ok func(client.Object) bool, count int) func() error {
	ctx, cancel := context.WithTimeout(ctx, b.options.timeout)
	outcome := make(chan error, 1)
	go func() { // at once: the server drops who is slow
		defer cancel()
		outcome <- b.see(ctx, list, ok, count)
	}()
	return func() error { return <-outcome }
}

// see returns when so many objects were seen as wanted. A watch that ends is followed by another, which begins with what is there.
func (b *bench) see(ctx context.Context, list client.ObjectList, ok func(client.Object) bool, count int) error {
	done := map[string]bool{}
	for len(done) < count {
		w, err := b.Client.Watch(ctx, list, client.InNamespace(namespace))
		if err != nil {
			return fmt.Errorf("watch, with %d of %d objects done: %w", len(done), count, err)
		}
		for event := range w.ResultChan() {
			if o, is := event.Object.(client.Object); is && event.Type != watch.Deleted && ok(o) {
				done[o.GetName()] = true
			}
			if len(done) == count {
				break
			}
		}
		w.Stop()
	}
	return nil
}

// costs says what something took: processor time and memory of each process at its worst moment, and what it did.
func costs(u *gauge.Usage) string {
	requests := map[string]float64{}
	for kind, n := range u.Requests {
		requests[kind.String()] = n
	}
	return listed("  processor seconds:", u.CPU, "%.1f") + listed(", and beside:", u.Beside, "%.1f") +
		listed("\n  MiB at most:", mebibytes(u.Peak), "%.0f") + listed("\n  runs:", u.Runs, "%.0f") + listed("; messages stored:", u.Stored, "%.0f") + listed("\n  requests to the API server:", requests, "%.0f")
}

func listed(text string, values map[string]float64, format string) string {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if values[name] > 0 {
			text += fmt.Sprintf(" %s "+format, name, values[name])
		}
	}
	return text
}

func mebibytes(bytes map[string]int64) map[string]float64 {
	out := map[string]float64{}
	for name, n := range bytes {
		out[name] = float64(n) / (1 << 20)
	}
	return out
}

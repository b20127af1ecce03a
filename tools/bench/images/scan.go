package main

import (
	"context"
	"fmt"
	"time"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/tools/bench/internal/gauge"
)

// tag is the name of a tag of an image of a scan.
func tag(i int) string { return fmt.Sprintf("1.%d.0", i) }

// names are those of the images of a scan.
func (b *bench) names(prefix string) []string {
	names := make([]string, b.options.images)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%05d", prefix, i)
	}
	return names
}

// images makes images in the registry, and returns their names.
func (b *bench) images(prefix string) []string {
	tags := make([]string, b.options.tags)
	for i := range tags {
		tags[i] = tag(i)
	}
	names := b.names(prefix)
	for _, name := range names {
		b.registry.add(name, tags...)
	}
	return names
}

// scans scans images for the first time, and then again, in a registry that answers from memory; then others, in one that is farther away.
func (b *bench) scans(ctx context.Context) ([]string, error) {
	b.registry.latency.Store(0)
	names := b.images("image")
	lines, err := b.firstScan(ctx, b.registry, names, hour)
	if err != nil {
		return lines, err
	}
	again, err := b.rescan(ctx, b.registry, names)
	lines = append(lines, again...)
	if err != nil || b.options.latency == 0 {
		return lines, err
	}
	if err := b.endAll("registry-scanner"); err != nil {
		return lines, err
	}
	b.registry.latency.Store(int64(b.options.latency))
	far, err := b.firstScan(ctx, b.registry, b.images("far"), hour)
	return append(lines, far...), err
}

// real scans images for the first time, and then again when all of them are due, in a registry as people run it.
func (b *bench) real(ctx context.Context) ([]string, error) {
	if err := b.endAll("registry-scanner"); err != nil {
		return nil, err
	}
	names := b.names("real")
	b.Say("making %d repositories of %d tags in CNCF Distribution", len(names), b.options.tags)
	d, err := b.startDistribution(ctx, names)
	if err != nil {
		return nil, err
	}
	defer d.end(b)
	lines, err := b.firstScan(ctx, d, names, metav1.Duration{Duration: b.options.interval})
	if err != nil {
		return lines, err
	}
	due, err := b.scanDue(ctx, d, names)
	return append(lines, due...), err
}

// firstScan starts a scanner that meets images which nobody scanned yet.
func (b *bench) firstScan(ctx context.Context, in catalog, names []string, interval metav1.Duration) ([]string, error) {
	b.Say("measuring the floor")
	floor, err := b.measureFloor(ctx, in, names)
	if err != nil {
		return nil, err
	}
	b.Say("making %d image repositories", len(names))
	objects := imageRepositories(in, names)
	for _, o := range objects {
		o.(*imagev1.ImageRepository).Spec.Interval = interval
	}
	if err := b.create(ctx, objects); err != nil {
		return nil, err
	}
	wait := b.follow(ctx, &imagev1.ImageRepositoryList{}, isScanned, b.known+len(names))
	b.Say("scanning")
	took, cost, err := b.scanning(ctx, in, len(names), wait)
	if err != nil {
		return nil, err
	}
	b.known += len(names)
	least := floor.list + floor.status
	return []string{
		fmt.Sprintf("first scan of %d images of %d tags, %s: %.2f s", len(names), b.options.tags, in.title(), took.Seconds()),
		fmt.Sprintf("  a bare client with %d connections %.2f s (%.1f×); with one status each by %d bare workers, %.2f s more (%.1f×)", b.options.concurrency,
			floor.list.Seconds(), took.Seconds()/floor.list.Seconds(), statusWorkers, floor.status.Seconds(), took.Seconds()/least.Seconds()),
		cost,
	}, nil
}

// scanning starts a scanner and returns how long it was from its first request until wait returned, and what that took.
func (b *bench) scanning(ctx context.Context, in catalog, images int, wait func() error) (time.Duration, string, error) {
	if err := in.reset(ctx); err != nil {
		return 0, "", err
	}
	window, err := b.Meter.Begin(ctx)
	if err != nil {
		return 0, "", err
	}
	if _, err := b.serve(ctx, "registry-scanner"); err != nil {
		return 0, "", err
	}
	keep := func() error { return nil }
	if b.options.profiles != "" {
		keep = gauge.Profile(ctx, b.Meter.Metrics, b.options.profiles, fmt.Sprintf("scan-%d", b.profiled))
		b.profiled++
	}
	if err := wait(); err != nil {
		return 0, "", err
	}
	took := time.Since(in.firstAsked())
	if err := keep(); err != nil {
		return 0, "", err
	}
	usage, err := window.End(ctx)
	if err != nil {
		return 0, "", err
	}
	requests, err := requestsOf(ctx, in, images)
	return took, requests + "\n" + costs(usage), err
}

// scanDue lets all images become due while nobody scans them, and returns how long it takes to scan them then, with nothing new.
func (b *bench) scanDue(ctx context.Context, in catalog, names []string) ([]string, error) {
	if err := b.endAll("registry-scanner"); err != nil {
		return nil, err
	}
	ended := time.Now()
	b.Say("waiting until all images are due")
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(b.options.interval + b.options.interval/5):
	}
	b.Say("scanning what is due")
	took, cost, err := b.scanning(ctx, in, len(names), func() error { return b.scannedSince(ctx, in, names, ended) })
	if err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("scan of the same images by their interval, all due at once, nothing new: %.2f s", took.Seconds()), cost}, nil
}

// scannedSince returns when all images are recorded as scanned after a time: the times in their statuses may lag.
func (b *bench) scannedSince(ctx context.Context, in catalog, names []string, since time.Time) error {
	conn, err := bus.Connect(ctx, bus.Options{URL: b.Sluice.NATSURL(), Name: "bench"})
	if err != nil {
		return err
	}
	defer conn.Close()
	pause := func() { time.Sleep(20 * time.Millisecond) }
	for lists := int64(0); lists < int64(len(names)) && ctx.Err() == nil; pause() { // not the bus, which is busy
		if lists, _, err = in.asked(ctx); err != nil {
			return err
		}
	}
	for _, name := range names {
		var known state.Scanned
		for !known.ScannedAt.After(since) && ctx.Err() == nil {
			if _, err := stage.ReadState(ctx, conn, state.StageScan, types.NamespacedName{Namespace: namespace, Name: name}, &known); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func requestsOf(ctx context.Context, in catalog, images int) (string, error) {
	lists, others, err := in.asked(ctx)
	return fmt.Sprintf("  %.3f requests per image, %d for manifests", float64(lists)/float64(images), others), err
}

// rescan scans all images again, with nothing new, as requests ask for it.
func (b *bench) rescan(ctx context.Context, in catalog, names []string) ([]string, error) {
	objects := imageRepositories(in, names)
	if err := in.reset(ctx); err != nil {
		return nil, err
	}
	now := time.Now()
	wait := b.follow(ctx, &imagev1.ImageRepositoryList{}, func(o client.Object) bool {
		asked, err := time.Parse(time.RFC3339Nano, o.GetAnnotations()[meta.ReconcileRequestAnnotation])
		return err == nil && asked.After(now) && isScanned(o)
	}, len(objects))
	b.Say("scanning again")
	window, err := b.Meter.Begin(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := b.request(ctx, objects); err != nil {
		return nil, err
	}
	asked := time.Since(began)
	if err := wait(); err != nil {
		return nil, err
	}
	took := time.Since(began)
	usage, err := window.End(ctx)
	if err != nil {
		return nil, err
	}
	requests, err := requestsOf(ctx, in, len(objects))
	return []string{
		fmt.Sprintf("scan with nothing new, each asked for: %.2f s, of which asking took %.2f s", took.Seconds(), asked.Seconds()),
		requests, costs(usage),
	}, err
}

// endAll ends all replicas of a service.
func (b *bench) endAll(service string) error {
	for _, r := range b.Sluice.Replicas(service) {
		if err := b.End(r); err != nil {
			return err
		}
	}
	return nil
}

package main

import (
	"context"
	"fmt"
	"time"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/localrun"
)

// tag is the name of a tag of an image of a scan.
func tag(i int) string { return fmt.Sprintf("1.%d.0", i) }

// images makes images in the registry, and returns their names.
func (b *bench) images(prefix string) []string {
	tags := make([]string, b.options.tags)
	for i := range tags {
		tags[i] = tag(i)
	}
	names := make([]string, b.options.images)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%05d", prefix, i)
		b.registry.add(names[i], tags...)
	}
	return names
}

// scans scans images for the first time, and then again, in a registry that answers from memory.
func (b *bench) scans(ctx context.Context) ([]string, error) {
	names := b.images("image")
	lines, scanner, err := b.firstScan(ctx, names, 0)
	if err != nil {
		return lines, err
	}
	again, err := b.rescan(ctx, names)
	lines = append(lines, again...)
	if err != nil || b.options.latency == 0 {
		return lines, err
	}
	if err := b.End(scanner); err != nil {
		return lines, err
	}
	far, _, err := b.firstScan(ctx, b.images("far"), b.options.latency)
	return append(lines, far...), err
}

// firstScan starts a scanner that meets images which nobody scanned yet.
func (b *bench) firstScan(ctx context.Context, names []string, latency time.Duration) ([]string, *localrun.Replica, error) {
	b.registry.latency.Store(int64(latency))
	b.Say("measuring the floor")
	floor, err := b.measureFloor(ctx, names)
	if err != nil {
		return nil, nil, err
	}
	b.Say("making %d image repositories", len(names))
	if err := b.create(ctx, b.imageRepositories(names)); err != nil {
		return nil, nil, err
	}
	b.registry.reset()
	wait := b.follow(ctx, &imagev1.ImageRepositoryList{}, isScanned, b.known+len(names))
	b.Say("scanning")
	window, err := b.Meter.Begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	scanner, err := b.serve(ctx, "registry-scanner")
	if err != nil {
		return nil, nil, err
	}
	if err := wait(); err != nil {
		return nil, nil, err
	}
	took := time.Since(*b.registry.first.Load())
	usage, err := window.End(ctx)
	if err != nil {
		return nil, nil, err
	}
	b.known += len(names)
	least := floor.list + floor.status
	return []string{
		fmt.Sprintf("first scan of %d images of %d tags, registry of %s: %.2f s", len(names), b.options.tags, latency, took.Seconds()),
		fmt.Sprintf("  a bare client with %d connections %.2f s (%.1f×); with one status each by %d bare workers, %.2f s more (%.1f×)", b.options.concurrency,
			floor.list.Seconds(), took.Seconds()/floor.list.Seconds(), statusWorkers, floor.status.Seconds(), took.Seconds()/least.Seconds()),
		b.requests(len(names)), costs(usage),
	}, scanner, nil
}

func (b *bench) requests(images int) string {
	return fmt.Sprintf("  %.3f requests per image, %d for manifests", float64(b.registry.listed.Load())/float64(images), b.registry.aboutImages())
}

// rescan scans all images again, with nothing new, as requests ask for it.
func (b *bench) rescan(ctx context.Context, names []string) ([]string, error) {
	objects := b.imageRepositories(names)
	b.registry.reset()
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
	return []string{
		fmt.Sprintf("scan with nothing new, each asked for: %.2f s, of which asking took %.2f s", took.Seconds(), asked.Seconds()),
		b.requests(len(objects)), costs(usage),
	}, nil
}

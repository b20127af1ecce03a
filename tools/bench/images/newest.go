package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/localrun"
	"github.com/sluice-cd/sluice/tools/bench/internal/gauge"
	"github.com/sluice-cd/sluice/tools/bench/internal/report"
)

// requestsPerBuild is what a registry is asked about a tag of which nothing is known: its manifest and its configuration.
const requestsPerBuild = 2

// known is an image whose builds are known while those of the others are looked up.
const known = "known-00000"

// newest orders images by build time, of which nothing is known at first, under a budget.
func (b *bench) newest(ctx context.Context) ([]string, error) {
	if err := b.limit(ctx); err != nil {
		return nil, err
	}
	names := make([]string, b.options.images)
	for i := range names {
		names[i] = fmt.Sprintf("built-%05d", i)
	}
	if err := b.settleBuilds(ctx, names); err != nil {
		return nil, err
	}
	b.Say("a plain scan, without policies")
	plain, err := b.rescan(ctx, b.registry, names)
	if err != nil {
		return nil, err
	}
	lines, err := b.cold(ctx, names)
	if err != nil {
		return lines, err
	}
	warm, err := b.rescan(ctx, b.registry, names)
	if err != nil {
		return lines, err
	}
	again, err := b.decideAgain(ctx, names)
	lines = append(append(lines, "  the same images before they had policies: "+plain[0], plain[1]), "  now: "+warm[0], warm[1])
	return append(lines, again), err
}

// limit starts the services anew, with a budget.
func (b *bench) limit(ctx context.Context) error {
	b.registry.latency.Store(0)
	for _, service := range localrun.ImageServices {
		if err := b.endAll(service); err != nil {
			return err
		}
		b.flags[service] = append(b.flags[service], "--registry-rps", fmt.Sprint(b.options.rps), "--registry-burst", fmt.Sprint(b.options.burst))
	}
	b.registry.pace.perSecond = b.options.rps
	for _, service := range localrun.ImageServices {
		if _, err := b.serve(ctx, service); err != nil {
			return err
		}
	}
	return nil
}

// settleBuilds scans images that nobody chooses from yet, and decides about the one that is known.
func (b *bench) settleBuilds(ctx context.Context, names []string) error {
	tags := b.options.builds
	b.Say("scanning %d images of %d tags", len(names), tags)
	all := append(slices.Clone(names), known)
	for _, name := range all {
		b.registry.addBuilds(name, 0, tags, tags)
	}
	mine := map[string]bool{}
	for _, name := range all {
		mine[name] = true
	}
	scanned := b.follow(ctx, &imagev1.ImageRepositoryList{}, func(o client.Object) bool { return mine[o.GetName()] && isScanned(o) }, len(all))
	decided := b.follow(ctx, &imagev1.ImagePolicyList{}, chose("known", tag(tags/2)), 1)
	if err := b.create(ctx, append(imageRepositories(b.registry, all), newestPolicy(known))); err != nil {
		return err
	}
	if err := scanned(); err != nil {
		return err
	}
	return decided()
}

// cold makes the policies and returns when all have chosen.
func (b *bench) cold(ctx context.Context, names []string) ([]string, error) {
	policies := make([]client.Object, len(names))
	for i, name := range names {
		policies[i] = newestPolicy(name)
	}
	b.Say("looking up the builds of %d images, %.0f requests a second", len(names), b.options.rps)
	if err := b.registry.reset(ctx); err != nil {
		return nil, err
	}
	window, err := b.Meter.Begin(ctx)
	if err != nil {
		return nil, err
	}
	took := &times{began: time.Now(), all: map[string]time.Duration{}}
	wait := b.follow(ctx, &imagev1.ImagePolicyList{}, took.noted(chose("built", tag(b.options.builds/2))), len(names))
	if err := b.create(ctx, policies); err != nil {
		return nil, err
	}
	meanwhile := b.pushMeanwhile(ctx)
	if err := wait(); err != nil {
		return nil, fmt.Errorf("%d of %d policies chose, after %d requests: %w", len(took.all), len(names), b.registry.requests(), err)
	}
	cold := time.Since(took.began)
	usage, err := window.End(ctx)
	if err != nil {
		return nil, err
	}
	lines := b.describeCold(cold, took.sorted(), usage)
	pushes, err := meanwhile()
	return append(lines, pushes), err
}

func (b *bench) describeCold(cold time.Duration, took []time.Duration, usage *gauge.Usage) []string {
	o, r := b.options, b.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	return []string{
		fmt.Sprintf("newest by build time of %d images of %d tags, nothing known, budget of %.0f requests a second and a burst of %d: %.1f s; %.0f requests a second",
			o.images, o.builds, o.rps, o.burst, cold.Seconds(), float64(r.requests())/cold.Seconds()),
		fmt.Sprintf("  requests: %d for lists, %d for digests, %d for manifests, %d for configurations; at most %.0f ahead of the rate; %d tags asked for after a lower one",
			r.listed.Load(), r.digests.Load(), r.manifests.Load(), r.configs.Load(), r.pace.most, r.disordered),
		fmt.Sprintf("  policies that had chosen: the first after %.1f s, a tenth after %.1f s, half after %.1f s",
			took[0].Seconds(), report.Quantile(took, 0.1).Seconds(), report.Quantile(took, 0.5).Seconds()),
		costs(usage),
	}
}

// pushMeanwhile pushes to the known image again and again. What it returns ends that and says how long it was until each was chosen.
func (b *bench) pushMeanwhile(ctx context.Context) func() (string, error) {
	pushing, cancel := context.WithCancel(ctx)
	var took []time.Duration
	outcome := make(chan error, 1)
	go func() {
		for next := b.options.builds; ; next++ {
			one, err := b.pushBuild(ctx, next)
			if err != nil {
				outcome <- err
				return
			}
			took = append(took, one)
			select {
			case <-pushing.Done():
				outcome <- nil
				return
			case <-time.After(b.options.rest):
			}
		}
	}()
	return func() (string, error) {
		cancel()
		if err := <-outcome; err != nil {
			return "", err
		}
		return fmt.Sprintf("  image pushed to a repository that is known → chosen, meanwhile, %d times: p50 %.2f s, max %.2f s",
			len(took), report.Quantile(took, 0.5).Seconds(), report.Quantile(took, 1).Seconds()), nil
	}
}

func (b *bench) pushBuild(ctx context.Context, number int) (time.Duration, error) {
	wait := b.follow(ctx, &imagev1.ImagePolicyList{}, chose("known", tag(number)), 1)
	began := time.Now()
	b.registry.addBuilds(known, number, number+1, b.options.builds)
	if err := b.request(ctx, imageRepositories(b.registry, []string{known})); err != nil {
		return 0, err
	}
	err := wait()
	return time.Since(began), err
}

// decideAgain asks all policies to decide once more.
func (b *bench) decideAgain(ctx context.Context, names []string) (string, error) {
	policies := make([]client.Object, len(names))
	for i, name := range names {
		policies[i] = newestPolicy(name)
	}
	if err := b.registry.reset(ctx); err != nil {
		return "", err
	}
	began := time.Now()
	wait := b.follow(ctx, &imagev1.ImagePolicyList{}, func(o client.Object) bool {
		p := o.(*imagev1.ImagePolicy)
		asked, err := time.Parse(time.RFC3339Nano, p.Annotations[meta.ReconcileRequestAnnotation])
		return err == nil && asked.After(began) && p.Status.LastHandledReconcileAt == p.Annotations[meta.ReconcileRequestAnnotation]
	}, len(policies))
	if err := b.request(ctx, policies); err != nil {
		return "", err
	}
	asked := time.Since(began)
	err := wait()
	return fmt.Sprintf("  all policies decide again, each asked to: %.2f s, of which asking took %.2f s; %d requests",
		time.Since(began).Seconds(), asked.Seconds(), b.registry.requests()), err
}

// times are when objects were first seen as wanted, since it began.
type times struct {
	began time.Time
	mu    sync.Mutex
	all   map[string]time.Duration
}

// noted notes when an object is ok.
func (t *times) noted(ok func(client.Object) bool) func(client.Object) bool {
	return func(o client.Object) bool {
		if !ok(o) {
			return false
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if _, seen := t.all[o.GetName()]; !seen {
			t.all[o.GetName()] = time.Since(t.began)
		}
		return true
	}
}

func (t *times) sorted() []time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Sorted(maps.Values(t.all))
}

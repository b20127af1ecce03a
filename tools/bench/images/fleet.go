package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/gittest"
	"github.com/sluice-cd/sluice/libs/localrun"
	"github.com/sluice-cd/sluice/tools/bench/internal/report"
)

// fleet is a repository whose first files follow an image each.
type fleet struct {
	b          *bench
	name       string
	images     []string
	repository *gittest.Repository
}

func (b *bench) newFleet(ctx context.Context, name string, images, files int) (*fleet, error) {
	f := &fleet{b: b, name: name}
	var err error
	if f.repository, err = b.Git.CreateRepository(ctx, name); err != nil {
		return nil, err
	}
	contents := map[string]string{}
	var objects []client.Object
	for i := range files {
		image, marker := fmt.Sprintf("%s-%05d", name, i), ""
		if i < images {
			f.images = append(f.images, image)
			b.registry.add(image, "1.0.0")
			marker = fmt.Sprintf(` # {"$imagepolicy": "%s:%s"}`, namespace, image)
			objects = append(objects, imageRepository(b.registry.host(), image), policy(image))
		}
		contents[fmt.Sprintf("apps/%05d.yaml", i)] = fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata:\n  name: %s\nspec:\n  containers:\n    - name: app\n      image: %s/%s:1.0.0%s\n",
			image, b.registry.host(), image, marker)
	}
	if _, err := f.repository.Commit(ctx, gittest.Commit{Branch: "main", Files: contents, Message: "begin"}); err != nil {
		return nil, err
	}
	wait := b.follow(ctx, &imagev1.ImagePolicyList{}, chose(name, "1.0.0"), images)
	if err := b.create(ctx, append(objects, gitRepository(name, b.Git.URL(name)), automation(name))); err != nil {
		return nil, err
	}
	return f, wait()
}

// chose says whether an object is a policy of a fleet that chose a tag.
func chose(fleet, tag string) func(client.Object) bool {
	return func(o client.Object) bool {
		p, is := o.(*imagev1.ImagePolicy)
		return is && strings.HasPrefix(p.Name, fleet+"-") && p.Status.LatestRef != nil && p.Status.LatestRef.Tag == tag
	}
}

// move pushes a tag to images, tells of it as their registries do, and returns how long it was until the branch moved.
func (f *fleet) move(ctx context.Context, images []string, tag string) (time.Duration, error) {
	before, err := f.tip()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	for _, image := range images {
		f.b.registry.add(image, tag)
	}
	if err := f.b.call(ctx, images); err != nil {
		return 0, err
	}
	return f.moved(ctx, before, began)
}

// moved returns how long it was since then when the branch is elsewhere than before.
func (f *fleet) moved(ctx context.Context, before string, began time.Time) (time.Duration, error) {
	var err error
	for tip := before; tip == before; {
		if time.Since(began) > f.b.options.timeout || ctx.Err() != nil {
			return 0, fmt.Errorf("no commit after %s", time.Since(began))
		}
		time.Sleep(time.Millisecond)
		if tip, err = f.tip(); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

// tip reads where the branch is, without a process that would take part of the machine.
func (f *fleet) tip() (string, error) {
	text, err := os.ReadFile(filepath.Join(f.repository.Path(), "refs", "heads", "main"))
	return strings.TrimSpace(string(text)), err
}

func (f *fleet) commits(ctx context.Context) (string, error) {
	count, err := f.repository.Git(ctx, nil, "rev-list", "--count", "main")
	return strings.TrimSpace(count), err
}

// push pushes single images.
func (b *bench) push(ctx context.Context) ([]string, error) {
	b.registry.latency.Store(0)
	if err := b.need(ctx, localrun.ImageServices...); err != nil {
		return nil, err
	}
	f, err := b.newFleet(ctx, "single", 1, 1)
	if err != nil {
		return nil, err
	}
	b.Say("pushing images")
	var all []time.Duration
	for i := range b.options.pushes {
		time.Sleep(b.options.rest)
		took, err := f.move(ctx, f.images, fmt.Sprintf("1.0.%d", i+1))
		if err != nil {
			return nil, err
		}
		all = append(all, took)
	}
	return []string{fmt.Sprintf("image pushed → commit pushed, with a quiet period of 1 s, %d times: p50 %.2f s, p90 %.2f s, max %.2f s (target p50 ≤ 1.5 s)",
		len(all), report.Quantile(all, 0.5).Seconds(), report.Quantile(all, 0.9).Seconds(), report.Quantile(all, 1).Seconds())}, nil
}

// burst pushes many images at once.
func (b *bench) burst(ctx context.Context) ([]string, error) {
	o := b.options
	b.registry.latency.Store(0)
	if err := b.need(ctx, localrun.ImageServices...); err != nil {
		return nil, err
	}
	b.Say("making %d policies in a repository of %d files", o.policies, o.files)
	f, err := b.newFleet(ctx, "burst", o.policies, o.files)
	if err != nil {
		return nil, err
	}
	time.Sleep(o.rest)
	b.Say("pushing %d images", o.policies)
	window, err := b.Meter.Begin(ctx)
	if err != nil {
		return nil, err
	}
	took, err := f.move(ctx, f.images, "1.1.0")
	if err != nil {
		return nil, err
	}
	usage, err := window.End(ctx)
	if err != nil {
		return nil, err
	}
	time.Sleep(2 * o.rest) // for a second commit, which there must not be
	commits, err := f.commits(ctx)
	if err != nil {
		return nil, err
	}
	changed, err := f.shortstat(ctx)
	if err != nil {
		return nil, err
	}
	alone, err := f.updateAlone(ctx, "1.2.0")
	return []string{
		fmt.Sprintf("%d policies change at once, in a repository of %d files, calls of the registry and scans included: %.2f s to the first commit", o.policies, o.files, took.Seconds()),
		fmt.Sprintf("  commits with the first: %s; the last one: %s", commits, changed),
		costs(usage),
		alone,
	}, err
}

// shortstat says what the last commit changed.
func (f *fleet) shortstat(ctx context.Context) (string, error) {
	text, err := f.repository.Git(ctx, nil, "diff", "--shortstat", "main~1", "main")
	return strings.TrimSpace(text), err
}

// updateAlone lets the automation sleep until all policies have chosen a tag, and measures it from when it wakes.
func (f *fleet) updateAlone(ctx context.Context, tag string) (string, error) {
	if err := f.suspend(ctx, true); err != nil {
		return "", err
	}
	before, err := f.tip()
	if err != nil {
		return "", err
	}
	wait := f.b.follow(ctx, &imagev1.ImagePolicyList{}, chose(f.name, tag), len(f.images))
	for _, image := range f.images {
		f.b.registry.add(image, tag)
	}
	if err := errors.Join(f.b.request(ctx, imageRepositories(f.b.registry, f.images)), wait()); err != nil {
		return "", err
	}
	began := time.Now()
	if err := f.suspend(ctx, false); err != nil {
		return "", err
	}
	took, err := f.moved(ctx, before, began)
	if err != nil {
		return "", err
	}
	changed, err := f.shortstat(ctx)
	return fmt.Sprintf("  all chosen → commit pushed, the update alone, with a quiet period of 1 s: %.2f s; %s", took.Seconds(), changed), err
}

func (f *fleet) suspend(ctx context.Context, yes bool) error {
	patch := fmt.Appendf(nil, `{"spec":{"suspend":%t}}`, yes)
	return f.b.Client.Patch(ctx, automation(f.name), client.RawPatch(types.MergePatchType, patch))
}

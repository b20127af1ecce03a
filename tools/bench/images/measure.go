package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/gittest"
	"github.com/sluice-cd/sluice/tools/bench/internal/report"
)

func object(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

func (b *bench) imageRepository(name string) *imagev1.ImageRepository {
	return &imagev1.ImageRepository{
		ObjectMeta: object(name),
		Spec:       imagev1.ImageRepositorySpec{Image: b.registry.host() + "/" + name, Interval: metav1.Duration{Duration: time.Hour}},
	}
}

func isScanned(o client.Object) bool {
	repo, is := o.(*imagev1.ImageRepository)
	return is && apimeta.IsStatusConditionTrue(repo.Status.Conditions, meta.ReadyCondition) && repo.Status.LastHandledReconcileAt == repo.Annotations[meta.ReconcileRequestAnnotation]
}

// scan scans all images for the first time.
func (b *bench) scan(ctx context.Context) ([]string, error) {
	o := b.options
	var objects []client.Object
	for i := range o.images {
		name := fmt.Sprintf("image-%05d", i)
		b.scanned = append(b.scanned, name)
		for t := range o.tags {
			b.registry.add(name, fmt.Sprintf("1.%d.0", t))
		}
		objects = append(objects, b.imageRepository(name))
	}
	b.say("making %d image repositories", o.images)
	if err := b.create(ctx, objects); err != nil {
		return nil, err
	}
	bare, err := b.registry.listBare(ctx, b.scanned, o.concurrency)
	if err != nil {
		return nil, err
	}
	b.registry.reset()
	wait := b.follow(ctx, &imagev1.ImageRepositoryList{}, isScanned, o.images)
	b.say("scanning")
	if b.scanner, err = b.serve(ctx, "registry-scanner"); err != nil {
		return nil, err
	}
	if err := wait(); err != nil {
		return nil, err
	}
	took := time.Since(*b.registry.first.Load())
	return []string{
		fmt.Sprintf("first scan of %d images of %d tags: %.2f s, a bare client with %d connections %.2f s (%.1f×)", o.images, o.tags, took.Seconds(), o.concurrency, bare.Seconds(), took.Seconds()/bare.Seconds()),
		b.requests(o.images) + fmt.Sprintf("; registry-scanner %s MiB, cache %s MiB at most", resident(b.scanner.PID()), resident(b.sluice.Cache().PID())),
	}, nil
}

func (b *bench) requests(images int) string {
	return fmt.Sprintf("  %.3f requests per image, %d for manifests", float64(b.registry.listed.Load())/float64(images), b.registry.manifests.Load())
}

// rescan scans all images again, with nothing new, as requests ask for it.
func (b *bench) rescan(ctx context.Context) ([]string, error) {
	var objects []client.Object
	for _, name := range b.scanned {
		objects = append(objects, b.imageRepository(name))
	}
	b.registry.reset()
	now := time.Now()
	wait := b.follow(ctx, &imagev1.ImageRepositoryList{}, func(o client.Object) bool {
		asked, err := time.Parse(time.RFC3339Nano, o.GetAnnotations()[meta.ReconcileRequestAnnotation])
		return err == nil && asked.After(now) && isScanned(o)
	}, len(objects))
	b.say("scanning again")
	began := time.Now()
	if err := b.request(ctx, objects); err != nil {
		return nil, err
	}
	asked := time.Since(began)
	if err := wait(); err != nil {
		return nil, err
	}
	return []string{
		fmt.Sprintf("scan with nothing new, each asked for: %.2f s, of which asking took %.2f s", time.Since(began).Seconds(), asked.Seconds()), b.requests(len(objects)),
	}, nil
}

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
	if f.repository, err = b.server.CreateRepository(ctx, name); err != nil {
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
			objects = append(objects, b.imageRepository(image), policy(image))
		}
		contents[fmt.Sprintf("apps/%05d.yaml", i)] = fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata:\n  name: %s\nspec:\n  containers:\n    - name: app\n      image: %s/%s:1.0.0%s\n",
			image, b.registry.host(), image, marker)
	}
	if _, err := f.repository.Commit(ctx, gittest.Commit{Branch: "main", Files: contents, Message: "begin"}); err != nil {
		return nil, err
	}
	wait := b.follow(ctx, &imagev1.ImagePolicyList{}, chose(name, "1.0.0"), images)
	if err := b.create(ctx, append(objects, f.source(), f.automation())); err != nil {
		return nil, err
	}
	return f, wait()
}

func policy(image string) *imagev1.ImagePolicy {
	return &imagev1.ImagePolicy{ObjectMeta: object(image), Spec: imagev1.ImagePolicySpec{
		ImageRepositoryRef: meta.NamespacedObjectReference{Name: image},
		Policy:             imagev1.ImagePolicyChoice{SemVer: &imagev1.SemVerPolicy{Range: ">=1.0.0"}},
	}}
}

// chose says whether an object is a policy of a fleet that chose a tag.
func chose(fleet, tag string) func(client.Object) bool {
	return func(o client.Object) bool {
		p, is := o.(*imagev1.ImagePolicy)
		return is && strings.HasPrefix(p.Name, fleet+"-") && p.Status.LatestRef != nil && p.Status.LatestRef.Tag == tag
	}
}

func (f *fleet) source() client.Object {
	return &sourcev1.GitRepository{ObjectMeta: object(f.name), Spec: sourcev1.GitRepositorySpec{
		URL: f.b.server.URL(f.name), Interval: metav1.Duration{Duration: time.Hour}, Reference: &sourcev1.GitRepositoryRef{Branch: "main"},
	}}
}

func (f *fleet) automation() client.Object {
	return &automationv1.ImageUpdateAutomation{ObjectMeta: object(f.name), Spec: automationv1.ImageUpdateAutomationSpec{
		SourceRef: automationv1.CrossNamespaceSourceReference{Kind: sourcev1.GitRepositoryKind, Name: f.name},
		Interval:  metav1.Duration{Duration: time.Hour},
		GitSpec:   &automationv1.GitSpec{Commit: automationv1.CommitSpec{Author: automationv1.CommitUser{Name: "Sluice", Email: "sluice@example.com"}}},
		Update:    &automationv1.UpdateStrategy{Path: "./apps", Strategy: automationv1.UpdateStrategySetters},
	}}
}

// move pushes a tag to images, asks for scans of them, and returns how long it was until the branch moved.
func (f *fleet) move(ctx context.Context, images []string, tag string) (time.Duration, error) {
	before, err := f.tip()
	if err != nil {
		return 0, err
	}
	var objects []client.Object
	for _, image := range images {
		objects = append(objects, f.b.imageRepository(image))
	}
	began := time.Now()
	for _, image := range images {
		f.b.registry.add(image, tag)
	}
	if err := f.b.request(ctx, objects); err != nil {
		return 0, err
	}
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
	if _, err := b.serve(ctx, "image-updater"); err != nil {
		return nil, err
	}
	f, err := b.newFleet(ctx, "single", 1, 1)
	if err != nil {
		return nil, err
	}
	b.say("pushing images")
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
	b.say("making %d policies in a repository of %d files", o.policies, o.files)
	f, err := b.newFleet(ctx, "burst", o.policies, o.files)
	if err != nil {
		return nil, err
	}
	time.Sleep(o.rest)
	b.say("pushing %d images", o.policies)
	took, err := f.move(ctx, f.images, "1.1.0")
	if err != nil {
		return nil, err
	}
	time.Sleep(2 * o.rest) // for a second commit, which there must not be
	commits, err := f.commits(ctx)
	if err != nil {
		return nil, err
	}
	changed, err := f.repository.Git(ctx, nil, "diff", "--shortstat", "main~1", "main")
	return []string{
		fmt.Sprintf("%d policies change at once, in a repository of %d files: %.2f s to the first commit (target: 10 s, one commit)", o.policies, o.files, took.Seconds()),
		fmt.Sprintf("  commits with the first: %s; the last one: %s", commits, strings.TrimSpace(changed)),
	}, err
}

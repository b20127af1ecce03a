package app

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	"github.com/nats-io/nats.go/jetstream"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/controlplane"
	"github.com/sluice-cd/sluice/libs/imagecache"
	"github.com/sluice-cd/sluice/libs/imagecache/imagecachetest"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/registry"
	"github.com/sluice-cd/sluice/libs/registry/registrytest"
	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/libs/service/servicetest"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
)

var plane *controlplane.ControlPlane

func TestMain(m *testing.M) {
	os.Exit(servicetest.Main(m, "../../../deploy/crds/*.yaml", func(c *controlplane.ControlPlane) { plane = c }))
}

// world is a running image-updater with all that it talks to, in a namespace of its own.
type world struct {
	*testing.T
	registry *registrytest.Server
	redis    *imagecachetest.Server
	cache    *imagecache.Cache
	server   *bustest.Server
	bus      *bus.Conn
	cluster  *kube.Cluster
	ns       string
	config   Config
	deps     func(*service.Deps)
}

func newWorld(t *testing.T, o registrytest.Options, change func(*service.Deps), settings ...func(*Config)) *world {
	t.Helper()
	w := &world{T: t, ns: "test-" + strings.ToLower(t.Name()), config: DefaultConfig(), deps: change}
	w.registry, w.redis, w.server = registrytest.Start(t, o), imagecachetest.Start(t), bustest.Start(t)
	w.config.Redis, w.config.Rate = w.redis.Options(), imagecache.Rate{PerSecond: 10_000, Burst: 10_000}
	for _, set := range settings {
		set(&w.config)
	}
	w.cache, w.bus = w.redis.Connect(), w.server.Connect()
	w.cluster = servicetest.Connect(t, plane, w.ns)
	servicetest.Background(t, stage.New(w.env().Stages, state.StageScan, scanner{w}, stage.Options{}).Run)
	w.run()
	return w
}

func (w *world) env() *service.Env {
	return servicetest.Env(w, w.bus, w.cluster, func(d *service.Deps) {
		if w.deps != nil {
			w.deps(d)
		}
	})
}

// run starts the service; it ends with the test.
func (w *world) run() {
	w.Helper()
	servicetest.Start(w, w.env(), func(ctx context.Context, env *service.Env) error { return Run(ctx, env, w.config) })
}

// scanner does what registry-scanner does where nothing goes wrong: a listing in the cache, a record and a fact.
type scanner struct{ w *world }

func (s scanner) Run(ctx context.Context, run *stage.Run) (stage.Result, error) {
	w, repo := s.w, &imagev1.ImageRepository{}
	if err := w.cluster.Client.Get(ctx, run.Key, repo); err != nil {
		return stage.Result{}, err
	}
	image, err := registry.ParseImage(repo.Spec.Image)
	if err != nil {
		return stage.Result{}, err
	}
	scope := w.cache.NewScope(image.String(), "")
	before, err := w.cache.Listing(ctx, scope)
	if err != nil {
		return stage.Result{}, stage.After(100*time.Millisecond, err)
	}
	asking, err := registry.New(registry.Options{Budget: w.cache.NewBudget(imagecache.Rate{})})
	if err != nil {
		return stage.Result{}, err
	}
	page, err := asking.Repository(image, registry.Access{}).Tags(ctx, "")
	if err != nil {
		return stage.Result{}, err
	}
	listing := imagecache.NewListing(image.String(), page.Tags, repo.Annotations["incomplete"] == "", time.Now(), time.Now(), before)
	if err := w.cache.PutListing(ctx, scope, listing); err != nil {
		return stage.Result{}, err
	}
	if err := run.Save(ctx, state.Scanned{
		UID: repo.UID, Generation: repo.Generation, Image: image.String(), Listing: listing.Digest(), Tags: len(page.Tags), Complete: listing.Complete, Exclusions: repo.GetExclusionList(),
	}); err != nil {
		return stage.Result{}, err
	}
	return stage.Result{}, run.Tell(ctx, &factsv1.Fact{
		Id: listing.Digest(), Object: &factsv1.ObjectReference{Namespace: repo.Namespace, Name: repo.Name},
		Kind: &factsv1.Fact_ImageScanned{ImageScanned: &factsv1.ImageScanned{Image: listing.Image}},
	})
}

// scan has an image scanned, and returns when the listing in the cache is what the registry says.
func (w *world) scan(name string) {
	w.Helper()
	w.do(stage.Wake(w.Context(), w.bus, state.StageScan, w.key(name), stage.Hint{Cause: "test"}))
}

func (w *world) do(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) key(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: w.ns, Name: name}
}

func (w *world) object(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: w.ns, Name: name, Labels: map[string]string{"test": w.ns}}
}

// repository creates an ImageRepository and has it scanned.
func (w *world) repository(name string, change func(*imagev1.ImageRepository)) {
	w.Helper()
	repo := &imagev1.ImageRepository{ObjectMeta: w.object(name)}
	repo.Spec = imagev1.ImageRepositorySpec{Image: w.registry.Host() + "/org/" + name, Interval: metav1.Duration{Duration: time.Hour}}
	if change != nil {
		change(repo)
	}
	w.do(w.cluster.Client.Create(w.Context(), repo))
	w.scan(name)
}

// create creates a policy for the ImageRepository app.
func (w *world) create(name string, change func(*imagev1.ImagePolicy)) {
	w.Helper()
	p := &imagev1.ImagePolicy{ObjectMeta: w.object(name)}
	p.Spec.ImageRepositoryRef.Name = "app"
	p.Spec.Policy.SemVer = &imagev1.SemVerPolicy{Range: ">=1.0.0"}
	if change != nil {
		change(p)
	}
	w.do(w.cluster.Client.Create(w.Context(), p))
}

func (w *world) get(name string) *imagev1.ImagePolicy {
	w.Helper()
	p := &imagev1.ImagePolicy{}
	w.do(w.cluster.Client.Get(w.Context(), w.key(name), p))
	return p
}

func (w *world) change(name string, change func(*imagev1.ImagePolicy)) {
	w.Helper()
	p := w.get(name)
	before := p.DeepCopy()
	change(p)
	w.do(w.cluster.Client.Patch(w.Context(), p, client.MergeFrom(before)))
}

func (w *world) annotate(name, key, value string) {
	w.Helper()
	w.change(name, func(p *imagev1.ImagePolicy) { metav1.SetMetaDataAnnotation(&p.ObjectMeta, key, value) })
}

// poke asks for a run now, and returns when it is answered.
func (w *world) poke(name string) *imagev1.ImagePolicy {
	w.Helper()
	now := time.Now().Format(time.RFC3339Nano)
	w.annotate(name, meta.ReconcileRequestAnnotation, now)
	return w.until(name, "evaluated on request", func(p *imagev1.ImagePolicy) bool { return p.Status.LastHandledReconcileAt == now })
}

func (w *world) until(name, what string, ok func(*imagev1.ImagePolicy) bool) *imagev1.ImagePolicy {
	w.Helper()
	var p *imagev1.ImagePolicy
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if p = w.get(name); ok(p) {
			return p
		}
	}
	w.Fatalf("%s is not %s: %+v", name, what, p.Status)
	return nil
}

// is reads a condition as "status/reason"; empty where there is none.
func is(p *imagev1.ImagePolicy, kind string) string {
	c := apimeta.FindStatusCondition(p.Status.Conditions, kind)
	if c == nil {
		return ""
	}
	return string(c.Status) + "/" + c.Reason
}

func (w *world) chooses(name, tag string) *imagev1.ImagePolicy {
	w.Helper()
	return w.until(name, "ready with "+tag, func(p *imagev1.ImagePolicy) bool {
		return is(p, meta.ReadyCondition) == "True/Succeeded" && p.Status.ObservedGeneration == p.Generation && p.Status.LatestRef != nil && p.Status.LatestRef.Tag == tag
	})
}

func (w *world) holds(name, tag, reason string) *imagev1.ImagePolicy {
	w.Helper()
	return w.until(name, "held by "+reason, func(p *imagev1.ImagePolicy) bool {
		return is(p, meta.ReadyCondition) == "True/Succeeded" && is(p, "Held") == "True/"+reason && p.Status.LatestRef.Tag == tag
	})
}

func (w *world) fails(name, reason string) *imagev1.ImagePolicy {
	w.Helper()
	return w.until(name, reason, func(p *imagev1.ImagePolicy) bool {
		return is(p, meta.ReadyCondition) == "False/"+reason && p.Status.ObservedGeneration == p.Generation
	})
}

func (w *world) chosen(name string) state.Chosen {
	w.Helper()
	var c state.Chosen
	_, err := stage.ReadState(w.Context(), w.bus, state.StagePolicy, w.key(name), &c)
	w.do(err)
	return c
}

// told lists the facts image selected about a policy, as "name:tag held".
func (w *world) told(name string) []string {
	w.Helper()
	stream, err := w.bus.JS.Stream(w.Context(), bus.StreamFacts)
	w.do(err)
	consumer, err := stream.OrderedConsumer(w.Context(), jetstream.OrderedConsumerConfig{})
	w.do(err)
	info, err := stream.Info(w.Context())
	w.do(err)
	var list []string
	for range info.State.Msgs {
		msg, err := consumer.Next(jetstream.FetchMaxWait(5 * time.Second))
		w.do(err)
		fact, err := bus.ParseFact(msg)
		w.do(err)
		if f := fact.GetImageSelected(); f != nil && fact.GetObject().GetName() == name {
			list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s %s", f.GetTag(), f.GetDigest(), f.GetPrevious())))
		}
	}
	return list
}

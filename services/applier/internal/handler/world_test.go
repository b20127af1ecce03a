package handler

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/controlplane"
	"github.com/sluice-cd/sluice/libs/controlplane/controlplanetest"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/seal"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
)

// cluster is the API server that all tests share. Each test has a namespace and a bus of its own.
var cluster *controlplane.ControlPlane

func TestMain(m *testing.M) {
	os.Exit(controlplanetest.Run(m, controlplane.Options{}, func(c *controlplane.ControlPlane) { cluster = c }))
}

// world is an applier with everything around it. The renderer is played: a test says what it made.
type world struct {
	testing.TB
	namespace string
	client    client.Client
	bus       *bus.Conn
	applier   *Applier
	stage     *stage.Stage
	renderer  *renderer
	requests  *requests
}

// requests counts what the applier asks of the API server, but for watches, leases and Events.
type requests struct {
	mu   sync.Mutex
	seen []string
}

func (r *requests) note(req *http.Request) {
	if req.URL.Query().Get("watch") != "" || strings.Contains(req.URL.Path, "/events") {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, req.Method+" "+req.URL.Path)
}

func (r *requests) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

func (r *requests) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = nil
}

// renderer saves and tells what a test says that was rendered.
type renderer struct {
	world *world
	mu    sync.Mutex
	made  map[types.NamespacedName]manifests
}

// hint is what tests wake with.
var hint = stage.Hint{Cause: "test"}

type manifests struct{ revision, docs string }

func (r *renderer) Run(ctx context.Context, run *stage.Run) (stage.Result, error) {
	r.mu.Lock()
	m, ok := r.made[run.Key]
	r.mu.Unlock()
	k := &kustomizev1.Kustomization{}
	if err := r.world.client.Get(ctx, run.Key, k); err != nil || !ok {
		return stage.Result{}, client.IgnoreNotFound(err)
	}
	var lines []byte
	for _, u := range r.world.parse(m.docs) {
		line, err := u.MarshalJSON()
		if err != nil {
			return stage.Result{}, err
		}
		lines = append(lines, line...)
	}
	sealer := r.world.applier.Sealer
	name := sealer.Name(lines)
	sealed, err := sealer.Seal(name, lines)
	if err != nil {
		return stage.Result{}, err
	}
	if err := r.world.bus.Sets().Put(ctx, name, sealed); err != nil {
		return stage.Result{}, err
	}
	rendered := state.Rendered{UID: k.UID, Generation: k.Generation, RequestedAt: kube.RequestedAt(k), SourceRevision: m.revision, Set: name, At: time.Now()}
	if err := run.Save(ctx, rendered); err != nil {
		return stage.Result{}, err
	}
	return stage.Result{}, run.Tell(ctx, &factsv1.Fact{
		Object: kube.KustomizationReference(k), Revision: m.revision,
		Kind: &factsv1.Fact_ManifestsRendered{ManifestsRendered: &factsv1.ManifestsRendered{SetDigest: name}},
	})
}

func newWorld(t testing.TB, change ...func(*Applier)) *world {
	t.Helper()
	w := &world{TB: t, namespace: "test-" + strings.ToLower(rand.Text()[:10]), requests: &requests{}}
	var err error
	if w.client, err = client.New(cluster.RESTConfig(), client.Options{Scheme: kube.Scheme()}); err != nil {
		t.Fatal(err)
	}
	w.installDefinitions()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
	if err := w.client.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	server := bustest.Start(t)
	w.bus = server.Connect()
	w.start(change)
	return w
}

func (w *world) installDefinitions() {
	w.Helper()
	files, err := filepath.Glob("../../../../deploy/crds/*.yaml")
	if err != nil || len(files) == 0 {
		w.Fatalf("no definitions: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			w.Fatal(err)
		}
		for _, u := range w.parse(string(data)) {
			if err := w.client.Create(w.Context(), u); err != nil && !apierrors.IsAlreadyExists(err) {
				w.Fatal(err)
			}
		}
	}
	w.until("definitions are served", func() bool {
		return w.client.List(w.Context(), &kustomizev1.KustomizationList{}) == nil
	})
}

// counted is a kubeconfig for the API server by way of a proxy that counts.
func (w *world) counted() string {
	config := cluster.RESTConfig()
	target, err := url.Parse(config.Host)
	if err != nil {
		w.Fatal(err)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		w.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport, proxy.FlushInterval = transport, -1
	proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		w.requests.note(req)
		// The whole request first: the API server refuses before it has read one, the client then sends no more of it, and a proxy that still
		// waits for the rest never ends its answer.
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		req.Host = target.Host
		proxy.ServeHTTP(rw, req)
	}))
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{}
	server.StartTLS()
	w.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	path := filepath.Join(w.TempDir(), "kubeconfig")
	content := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n"+
		"clusters: [{name: c, cluster: {server: %q, insecure-skip-tls-verify: true}}]\nusers: [{name: u, user: {}}]\n", server.URL)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		w.Fatal(err)
	}
	return path
}

func (w *world) start(change []func(*Applier)) {
	w.Helper()
	log := bustest.Logger(w.TB)
	kc, err := kube.Connect(kube.Options{Kubeconfig: w.counted(), UserAgent: "test", Log: log})
	if err != nil {
		w.Fatal(err)
	}
	events, err := kc.NewEvents("applier")
	if err != nil {
		w.Fatal(err)
	}
	sealer, err := seal.New(make([]byte, seal.KeySize))
	if err != nil {
		w.Fatal(err)
	}
	w.applier = &Applier{Cluster: kc, Bus: w.bus, Sealer: sealer, Events: events, Engines: NewEngines(kc.Config, 32), PruneGuard: PruneGuard{Share: 0.3}}
	for _, c := range change {
		c(w.applier)
	}
	rt := &stage.Runtime{Bus: w.bus, Log: log, Metrics: stage.NewMetrics(prometheus.NewRegistry()), Tracer: noop.NewTracerProvider().Tracer(""), Holder: w.namespace}
	ctx, stop := context.WithCancel(context.Background())
	if err := errors.Join(kube.IndexDependencies(ctx, kc), kube.IndexClusters(ctx, kc)); err != nil {
		w.Fatal(err)
	}
	mine := func(ctx context.Context) ([]types.NamespacedName, error) { return nil, nil }
	w.stage = stage.New(rt, state.StageApply, w.applier, stage.Options{
		Objects: mine, Backoff: Backoff, Map: w.applier.Woken, Pace: stage.Pace{Burst: 100, Every: 10 * time.Millisecond},
		Facts: []string{bus.FactManifestsRendered, bus.FactRenderFailed, bus.FactApplied, bus.FactHealthChanged},
	})
	if w.renderer == nil {
		w.renderer = &renderer{world: w, made: map[types.NamespacedName]manifests{}}
	}
	render := stage.New(rt, state.StageRender, w.renderer, stage.Options{Pace: stage.Pace{Burst: 1000, Every: time.Millisecond}})
	if err := kc.Watch(ctx, &kustomizev1.Kustomization{}, kube.KustomizationHandled, Deletions{w.stage}); err != nil {
		w.Fatal(err)
	}
	if err := kc.Watch(ctx, &kustomizev1.Kustomization{}, kube.KustomizationHandled, render); err != nil {
		w.Fatal(err)
	}
	if err := kc.WatchClusters(ctx, w.stage); err != nil {
		w.Fatal(err)
	}
	objects, err := w.applier.FollowObjects(ctx, log, w.stage)
	if err != nil {
		w.Fatal(err)
	}
	if err := kc.Start(ctx); err != nil {
		w.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() { objects.Run(ctx) })
	all.Go(func() { w.stage.Run(ctx) })
	all.Go(func() { render.Run(ctx) })
	w.Cleanup(func() { stop(); all.Wait(); events.Stop() })
}

// parse reads objects from YAML documents, in which NS stands for the test's namespace.
func (w *world) parse(docs string) []*unstructured.Unstructured {
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(strings.ReplaceAll(docs, "NS", w.namespace)), 4096)
	for {
		u := &unstructured.Unstructured{}
		if err := decoder.Decode(&u.Object); err != nil {
			return objects
		}
		if len(u.Object) > 0 {
			objects = append(objects, u)
		}
	}
}

func (w *world) key(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: w.namespace, Name: name}
}

// create makes a Kustomization.
func (w *world) create(name string, change ...func(*kustomizev1.Kustomization)) {
	w.Helper()
	k := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, Spec: kustomizev1.KustomizationSpec{
		Interval: metav1.Duration{Duration: time.Hour}, Prune: true,
		SourceRef: kustomizev1.CrossNamespaceSourceReference{Kind: "GitRepository", Name: "apps"},
	}}
	for _, c := range change {
		c(k)
	}
	if err := w.client.Create(w.Context(), k); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		left := k.DeepCopy()
		if w.client.Get(context.Background(), w.key(name), left) == nil {
			left.Finalizers = nil
			_ = w.client.Update(context.Background(), left)
			_ = w.client.Delete(context.Background(), left)
		}
	})
}

// push has the renderer say that a revision was rendered to these objects.
func (w *world) push(name, revision, docs string) {
	w.Helper()
	w.renderer.mu.Lock()
	w.renderer.made[w.key(name)] = manifests{revision, docs}
	w.renderer.mu.Unlock()
	if err := stage.Wake(w.Context(), w.bus, state.StageRender, w.key(name), stage.Hint{Cause: "push"}); err != nil {
		w.Fatal(err)
	}
}

func (w *world) get(name string) *kustomizev1.Kustomization {
	w.Helper()
	k := &kustomizev1.Kustomization{}
	if err := w.client.Get(w.Context(), w.key(name), k); err != nil {
		w.Fatal(err)
	}
	return k
}

func condition(k *kustomizev1.Kustomization, kind string) metav1.Condition {
	if c := apimeta.FindStatusCondition(k.Status.Conditions, kind); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// until waits for a condition.
func (w *world) until(what string, met func() bool) time.Duration {
	w.Helper()
	return w.patience(15*time.Second, what, met)
}

// patience waits for a condition for as long as limit.
func (w *world) patience(limit time.Duration, what string, met func() bool) time.Duration {
	w.Helper()
	started := time.Now()
	for !met() {
		if time.Since(started) > limit {
			w.Fatalf("after %s not: %s", limit, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(started)
}

// untilReady waits until Ready has a status, and the revision was attempted.
func (w *world) untilReady(name, revision string, status metav1.ConditionStatus) *kustomizev1.Kustomization {
	w.Helper()
	var k *kustomizev1.Kustomization
	defer func() {
		if w.Failed() {
			w.Logf("status: %+v", k.Status)
		}
	}()
	w.until(fmt.Sprintf("%s is %s at %s", name, status, revision), func() bool {
		k = w.get(name)
		return condition(k, meta.ReadyCondition).Status == status && k.Status.LastAttemptedRevision == revision && k.Status.ObservedGeneration == k.Generation
	})
	return k
}

// known reads the applier's record.
func (w *world) known(name string) applied {
	w.Helper()
	var known applied
	if _, err := stage.ReadState(w.Context(), w.bus, state.StageApply, w.key(name), &known); err != nil {
		w.Fatal(err)
	}
	return known
}

// untilWatched waits until the watch sees every object as it was applied.
func (w *world) untilWatched(name string) {
	w.Helper()
	took := w.until("the watch sees all objects of "+name, func() bool {
		known, k := w.known(name), w.get(name)
		objects, _ := (&job{k: k}).oldInventory()
		d := w.applier.standing(w.key(name), objects, &known)
		return objects.Len() > 0 && d.unknown == 0 && len(d.drifted) == 0
	})
	w.Logf("watched %s", took)
}

func (w *world) configMap(name string) *corev1.ConfigMap {
	w.Helper()
	cm := &corev1.ConfigMap{}
	if err := w.client.Get(w.Context(), w.key(name), cm); err != nil {
		return nil
	}
	return cm
}

// patch merges a patch into an object as somebody else.
func (w *world) patch(obj client.Object, patch string, opts ...client.PatchOption) {
	w.Helper()
	if err := w.client.Patch(w.Context(), obj, client.RawPatch(types.MergePatchType, []byte(patch)), append([]client.PatchOption{client.FieldOwner("kubectl-edit")}, opts...)...); err != nil {
		w.Fatal(err)
	}
}

// wake has the applier run as its interval would.
func (w *world) wake(name string) {
	w.Helper()
	before := w.runs(name)
	w.stage.Trigger(w.Context(), w.key(name), stage.Hint{Cause: "test"})
	w.until("it ran", func() bool { return w.runs(name) != before })
}

// runs is the record of the last run, which every run writes.
func (w *world) runs(name string) uint64 {
	w.Helper()
	entry, err := w.bus.GetState(w.Context(), bus.RecordKey(state.StageApply, w.key(name)))
	if err != nil {
		w.Fatal(err)
	}
	return entry.Revision
}

func configMap(name, value string) string {
	return fmt.Sprintf("---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: %s, namespace: NS}, data: {key: %q}}\n", name, value)
}

// told returns the facts of a kind that were told so far.
func (w *world) told(kind string) []*factsv1.Fact {
	w.Helper()
	consumer, err := w.bus.JS.OrderedConsumer(w.Context(), bus.StreamFacts, jetstream.OrderedConsumerConfig{FilterSubjects: []string{bus.FactFilter(kind)}})
	if err != nil {
		w.Fatal(err)
	}
	batch, err := consumer.FetchNoWait(1000)
	if err != nil {
		w.Fatal(err)
	}
	var facts []*factsv1.Fact
	for m := range batch.Messages() {
		f, err := bus.ParseFact(m)
		if err != nil {
			w.Fatal(err)
		}
		facts = append(facts, f)
	}
	return facts
}

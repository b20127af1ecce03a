package update

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/controlplane"
	"github.com/sluice-cd/sluice/libs/git"
	"github.com/sluice-cd/sluice/libs/git/access"
	"github.com/sluice-cd/sluice/libs/gittest"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/libs/service/servicetest"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
)

// cluster is the API server that all tests share. Each test has a namespace, a bus and a git server of its own.
var cluster *controlplane.ControlPlane

func TestMain(m *testing.M) {
	if os.Getenv(victimBus) != "" {
		victim()
		return
	}
	os.Exit(servicetest.Main(m, "../../../../deploy/crds/*.yaml", func(c *controlplane.ControlPlane) { cluster = c }))
}

// worldLabel keeps the tests, which share an API server, from working on each other's objects.
const worldLabel = "world"

// world is a stage update with everything around it. The stage policy is played: a test says what was chosen.
type world struct {
	testing.TB
	namespace string
	client    client.Client
	server    *bustest.Server
	bus       *bus.Conn
	git       *gittest.Server
	repo      *gittest.Repository
	policies  *policies
	quiet     time.Duration
	playing   bool
}

// policies saves and tells what a test says that was chosen.
type policies struct {
	world *world
	mu    sync.Mutex
	made  map[types.NamespacedName]state.Chosen
	mute  bool // and tells nothing
}

func (p *policies) Run(ctx context.Context, run *stage.Run) (stage.Result, error) {
	p.mu.Lock()
	c, ok := p.made[run.Key]
	mute := p.mute
	p.mu.Unlock()
	object := &imagev1.ImagePolicy{}
	if err := p.world.client.Get(ctx, run.Key, object); err != nil || !ok {
		return stage.Result{}, client.IgnoreNotFound(err)
	}
	c.UID, c.Generation = object.UID, object.Generation
	if err := run.Save(ctx, c); err != nil || mute {
		return stage.Result{}, err
	}
	return stage.Result{}, run.Tell(ctx, &factsv1.Fact{
		Object: &factsv1.ObjectReference{Kind: imagev1.ImagePolicyKind, Namespace: run.Key.Namespace, Name: run.Key.Name},
		Kind:   &factsv1.Fact_ImageSelected{ImageSelected: &factsv1.ImageSelected{Image: c.Name, Tag: c.Tag}},
	})
}

func newWorld(t testing.TB, o gittest.Options) *world {
	t.Helper()
	w := &world{TB: t, namespace: "test-" + strings.ToLower(rand.Text()[:10]), quiet: 50 * time.Millisecond}
	var err error
	if w.client, err = client.New(cluster.RESTConfig(), client.Options{Scheme: kube.Scheme()}); err != nil {
		t.Fatal(err)
	}
	w.until("definitions are served", func() bool {
		return w.client.List(w.Context(), &automationv1.ImageUpdateAutomationList{}) == nil && w.client.List(w.Context(), &imagev1.ImagePolicyList{}) == nil
	})
	if err := w.client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}); err != nil {
		t.Fatal(err)
	}
	w.server = bustest.Start(t)
	w.bus = w.server.Connect()
	if w.git, err = gittest.NewServer(t.TempDir(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.git.Close() })
	if w.repo, err = w.git.CreateRepository(t.Context(), "org/apps"); err != nil {
		t.Fatal(err)
	}
	w.policies = &policies{world: w, made: map[types.NamespacedName]state.Chosen{}}
	return w
}

// start runs a replica of the stage, and the stage policy, until the test ends.
func (w *world) start(change ...func(*Config)) {
	w.Helper()
	log := bustest.Logger(w.TB)
	kc, err := kube.Connect(kube.Options{Kubeconfig: cluster.Kubeconfig(), UserAgent: "test", Log: log, WatchLabelSelector: worldLabel + "=" + w.namespace})
	if err != nil {
		w.Fatal(err)
	}
	events, err := kc.NewEvents("image-updater")
	if err != nil {
		w.Fatal(err)
	}
	mirrors, err := git.NewMirrors(git.Options{Dir: w.TempDir(), InsecureHosts: []string{"*"}})
	if err != nil {
		w.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	env := service.NewEnv(service.Deps{Log: log, Registry: registry, Tracer: noop.NewTracerProvider().Tracer(""), Bus: w.bus, Cluster: kc}, "test-"+rand.Text())
	ctx, stop := context.WithCancel(context.Background())
	c := Config{Env: env, Events: events, Mirrors: mirrors, Git: &access.Reader{Secrets: kc, Mirrors: mirrors}, Slots: 4, Quiet: w.quiet, MaxWait: 10 * w.quiet}
	for _, f := range change {
		f(&c)
	}
	updates, err := New(ctx, c)
	if err != nil {
		w.Fatal(err)
	}
	if err := kc.Start(ctx); err != nil {
		w.Fatal(err)
	}
	w.played()
	var all sync.WaitGroup
	all.Go(func() { updates.Run(ctx) })
	w.Cleanup(func() { stop(); all.Wait(); events.Stop(); _ = mirrors.Close() })
}

// played runs the stage policy, once, until the test ends.
func (w *world) played() {
	w.Helper()
	if w.playing {
		return
	}
	w.playing = true
	rt := &stage.Runtime{
		Bus: w.bus, Log: bustest.Logger(w.TB), Metrics: stage.NewMetrics(prometheus.NewRegistry()), Tracer: noop.NewTracerProvider().Tracer(""), Holder: rand.Text(),
	}
	s := stage.New(rt, state.StagePolicy, w.policies, stage.Options{Pace: stage.Pace{Burst: 10000, Every: time.Millisecond}})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	w.Cleanup(func() { stop(); <-done })
}

func (w *world) key(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: w.namespace, Name: name}
}

func (w *world) create(object client.Object) {
	w.Helper()
	object.SetNamespace(w.namespace)
	object.SetLabels(map[string]string{worldLabel: w.namespace})
	if err := w.client.Create(w.Context(), object); err != nil {
		w.Fatal(err)
	}
}

// source makes a GitRepository of the server.
func (w *world) source(change ...func(*sourcev1.GitRepository)) {
	w.Helper()
	r := &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Name: "apps"}, Spec: sourcev1.GitRepositorySpec{
		URL: w.git.URL("org/apps"), Interval: metav1.Duration{Duration: time.Hour}, Reference: &sourcev1.GitRepositoryRef{Branch: "main"},
	}}
	for _, c := range change {
		c(r)
	}
	w.create(r)
}

// automation makes an ImageUpdateAutomation.
func (w *world) automation(change ...func(*automationv1.ImageUpdateAutomation)) {
	w.Helper()
	a := &automationv1.ImageUpdateAutomation{ObjectMeta: metav1.ObjectMeta{Name: "auto"}, Spec: automationv1.ImageUpdateAutomationSpec{
		SourceRef: automationv1.CrossNamespaceSourceReference{Kind: "GitRepository", Name: "apps"}, Interval: metav1.Duration{Duration: time.Hour},
		GitSpec: &automationv1.GitSpec{Commit: automationv1.CommitSpec{Author: automationv1.CommitUser{Name: "bot", Email: "bot@example.com"}}},
		Update:  &automationv1.UpdateStrategy{Strategy: automationv1.UpdateStrategySetters},
	}}
	for _, c := range change {
		c(a)
	}
	w.create(a)
}

// policy makes an ImagePolicy by semantic version.
func (w *world) policy(name, versions string, change ...func(*imagev1.ImagePolicy)) {
	w.Helper()
	p := &imagev1.ImagePolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: imagev1.ImagePolicySpec{
		ImageRepositoryRef: meta.NamespacedObjectReference{Name: name},
		Policy:             imagev1.ImagePolicyChoice{SemVer: &imagev1.SemVerPolicy{Range: versions}},
	}}
	for _, c := range change {
		c(p)
	}
	w.create(p)
}

// choose has the stage policy say that a policy chose a tag.
func (w *world) choose(name, tag string, change ...func(*state.Chosen)) {
	w.Helper()
	c := state.Chosen{Image: "ghcr.io/org/" + name, Name: "ghcr.io/org/" + name, Tag: tag, At: time.Now()}
	for _, f := range change {
		f(&c)
	}
	w.policies.mu.Lock()
	w.policies.made[w.key(name)] = c
	w.policies.mu.Unlock()
	if err := stage.Wake(w.Context(), w.bus, state.StagePolicy, w.key(name), stage.Hint{Cause: "test"}); err != nil {
		w.Fatal(err)
	}
}

// commit pushes files to main as a person would. NS stands for the namespace.
func (w *world) commit(message string, files map[string]string) string {
	w.Helper()
	for name, content := range files {
		files[name] = strings.ReplaceAll(content, "NS", w.namespace)
	}
	hash, err := w.repo.Commit(w.Context(), gittest.Commit{Branch: "main", Message: message, Files: files})
	if err != nil {
		w.Fatal(err)
	}
	return hash
}

func (w *world) gitOut(args ...string) string {
	w.Helper()
	out, err := w.repo.Git(w.Context(), nil, args...)
	if err != nil {
		w.Fatalf("git %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(out)
}

func (w *world) file(name string) string {
	out, _ := w.repo.Git(w.Context(), nil, "show", "main:"+name)
	return out
}

func (w *world) get() *automationv1.ImageUpdateAutomation {
	w.Helper()
	a := &automationv1.ImageUpdateAutomation{}
	if err := w.client.Get(w.Context(), w.key("auto"), a); err != nil {
		w.Fatal(err)
	}
	return a
}

func (w *world) condition(kind string) metav1.Condition {
	w.Helper()
	if c := apimeta.FindStatusCondition(w.get().Status.Conditions, kind); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// told counts the Events about the automation with a reason.
func (w *world) told(reason string) int {
	w.Helper()
	var list corev1.EventList
	if err := w.client.List(w.Context(), &list, client.InNamespace(w.namespace)); err != nil {
		w.Fatal(err)
	}
	n := 0
	for _, e := range list.Items {
		if e.InvolvedObject.Name == "auto" && e.Reason == reason {
			n++
		}
	}
	return n
}

// request asks for a run now and waits until it has ended.
func (w *world) request() {
	w.Helper()
	a := w.get()
	before := a.DeepCopy()
	token := rand.Text()
	metav1.SetMetaDataAnnotation(&a.ObjectMeta, meta.ReconcileRequestAnnotation, token)
	if err := w.client.Patch(w.Context(), a, client.MergeFrom(before)); err != nil {
		w.Fatal(err)
	}
	w.until("a run that was asked for", func() bool { return w.get().Status.LastHandledReconcileAt == token })
}

func (w *world) until(what string, ok func() bool) {
	w.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	if a := (&automationv1.ImageUpdateAutomation{}); w.client.Get(context.Background(), w.key("auto"), a) == nil {
		w.Logf("conditions: %+v", a.Status.Conditions)
	}
	w.Fatalf("not within 20s: %s", what)
}

const deployment = `# a comment that stays
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  template:
    spec:
      containers:
      - name: web
        image:   "ghcr.io/org/web:1.0.0"   # {"$imagepolicy": "NS:web"}
`

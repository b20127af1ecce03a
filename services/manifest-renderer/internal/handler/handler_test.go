package handler

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/go-logr/logr"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/libs/archive"
	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/controlplane"
	"github.com/sluice-cd/sluice/libs/controlplane/controlplanetest"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/seal"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/decrypt"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/render"
)

var plane *controlplane.ControlPlane

func TestMain(m *testing.M) {
	ctrllog.SetLogger(logr.Discard())
	os.Exit(controlplanetest.Run(m, controlplane.Options{}, func(p *controlplane.ControlPlane) { plane = p }))
}

// patient is how long anything may take on a slow machine.
const patient = 30 * time.Second

// world is a stage render as it runs in the service, on a bus and an API server of its own namespace.
type world struct {
	t         testing.TB
	namespace string
	bus       *bus.Conn
	cluster   *kube.Cluster
	handler   *Handler
	sealer    *seal.Sealer
	revisions int

	mu   sync.Mutex
	runs map[types.NamespacedName]int // that ended
	done []ended                      // in order
}

// ended is a run that did.
type ended struct {
	key types.NamespacedName
	at  time.Time
}

// counted notes the runs of a handler.
type counted struct {
	*Handler
	w *world
}

func (c counted) Run(ctx context.Context, run *stage.Run) (stage.Result, error) {
	result, err := c.Handler.Run(ctx, run)
	c.w.mu.Lock()
	c.w.runs[run.Key]++
	c.w.done = append(c.w.done, ended{run.Key, time.Now()})
	c.w.mu.Unlock()
	return result, err
}

func newWorld(t testing.TB) *world { return newWorldOn(t, bustest.Start(t)) }

func newWorldOn(t testing.TB, server *bustest.Server) *world {
	t.Helper()
	w := &world{t: t, bus: server.Connect(), runs: map[types.NamespacedName]int{}}
	var err error
	w.cluster, err = kube.Connect(kube.Options{Kubeconfig: plane.Kubeconfig(), UserAgent: "test", Log: bustest.Logger(t)})
	w.check(err)
	w.installCRDs()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "render-"}}
	w.create(namespace)
	w.namespace = namespace.Name
	t.Cleanup(func() {
		w.check(w.cluster.Client.DeleteAllOf(context.Background(), &kustomizev1.Kustomization{}, client.InNamespace(w.namespace)))
	})
	w.sealer, err = seal.New([]byte(strings.Repeat("k", seal.KeySize)))
	w.check(err)
	identities, err := decrypt.NewIdentities(w.cluster.Client, false)
	w.check(err)
	w.handler = &Handler{
		Identities: identities,
		Cluster:    w.cluster, Bus: w.bus, Sealer: w.sealer, Sets: NewSets(w.bus.Sets(), w.sealer),
		Renderer: render.New(render.Options{}), Trees: NewTrees(w.bus.Artifacts(), 64<<20),
	}
	return w
}

// start runs the stage until the test ends.
func (w *world) start() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w.check(kube.IndexSources(ctx, w.cluster))
	w.check(kube.IndexReferences(ctx, w.cluster))
	rt := &stage.Runtime{
		Bus: w.bus, Log: bustest.Logger(w.t), Metrics: stage.NewMetrics(prometheus.NewRegistry()),
		Tracer: noop.NewTracerProvider().Tracer(""), Holder: w.t.Name(),
	}
	s := stage.New(rt, state.StageRender, counted{w.handler, w}, stage.Options{
		Slots: 8, Objects: w.cluster.Kustomizations, Facts: []string{bus.FactSourceRevised}, Map: w.handler.Followers,
		Pace: stage.Pace{Burst: 1000, Every: time.Millisecond},
	})
	w.check(w.cluster.Watch(ctx, &kustomizev1.Kustomization{}, kube.KustomizationHandled, s))
	w.check(w.cluster.WatchReferences(ctx, s))
	w.check(w.cluster.Start(ctx))
	stopped := make(chan struct{})
	go func() { defer close(stopped); s.Run(ctx) }()
	w.t.Cleanup(func() { cancel(); <-stopped })
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) create(o client.Object) {
	w.t.Helper()
	w.check(client.IgnoreAlreadyExists(w.cluster.Client.Create(context.Background(), o)))
}

// installCRDs takes the definitions that are deployed.
func (w *world) installCRDs() {
	w.t.Helper()
	w.check(apiextensionsv1.AddToScheme(w.cluster.Client.Scheme()))
	files, err := filepath.Glob("../../../../deploy/crds/*_*.yaml")
	w.check(err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		w.check(err)
		crd := &apiextensionsv1.CustomResourceDefinition{}
		w.check(yaml.Unmarshal(data, crd))
		w.create(crd)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	w.check(w.cluster.WaitForKinds(ctx, &sourcev1.GitRepository{}, &kustomizev1.Kustomization{}))
}

func (w *world) key(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: w.namespace, Name: name}
}

// push makes files the source's revision, as git-watcher would, and tells of it if changed is not nil.
func (w *world) push(files map[string]string, changed ...string) (revision string) {
	w.t.Helper()
	ctx := context.Background()
	list := make([]archive.File, 0, len(files))
	for name, text := range files {
		list = append(list, archive.Bytes(name, false, []byte(text)))
	}
	packed, digest, err := archive.PackBytes(list)
	w.check(err)
	w.revisions++
	revision = fmt.Sprintf("main@sha1:%040d", w.revisions)
	w.check(w.bus.Artifacts().Put(ctx, digest, packed))
	saved, err := json.Marshal(state.Source{UID: "1", Artifact: &meta.Artifact{Revision: revision, Digest: digest}})
	w.check(err)
	record, err := json.Marshal(map[string]any{"state": json.RawMessage(saved)})
	w.check(err)
	key := bus.RecordKey(state.StageGit, w.key("source"))
	before, err := w.bus.GetState(ctx, key)
	w.check(err)
	_, err = w.bus.PutState(ctx, key, record, 0, bus.Condition{Key: key, Revision: before.Revision})
	w.check(err)
	w.check(w.bus.PublishFact(ctx, &factsv1.Fact{
		Id: revision, Revision: revision, Object: &factsv1.ObjectReference{Kind: "GitRepository", Namespace: w.namespace, Name: "source"},
		Kind: &factsv1.Fact_SourceRevised{SourceRevised: &factsv1.SourceRevised{Revision: revision, ArtifactDigest: digest, ChangedPaths: changed}},
	}, nil))
	return revision
}

// kustomization makes one that takes its files from the source.
func (w *world) kustomization(name, path string, change func(*kustomizev1.KustomizationSpec)) {
	w.t.Helper()
	k := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
	k.Spec = kustomizev1.KustomizationSpec{
		Path: path, Interval: metav1.Duration{Duration: time.Hour}, SourceRef: kustomizev1.CrossNamespaceSourceReference{Kind: "GitRepository", Name: "source"},
	}
	if change != nil {
		change(&k.Spec)
	}
	w.create(k)
}

// await returns what is saved of a Kustomization once it is as wanted.
func (w *world) await(name string, want func(state.Rendered) bool) state.Rendered {
	w.t.Helper()
	var r state.Rendered
	for deadline := time.Now().Add(patient); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		r = state.Rendered{}
		_, err := stage.ReadState(context.Background(), w.bus, state.StageRender, w.key(name), &r)
		w.check(err)
		if want(r) {
			return r
		}
	}
	w.t.Fatalf("%s: not as wanted: %+v", name, r)
	return r
}

func at(revision string) func(state.Rendered) bool {
	return func(r state.Rendered) bool { return r.SourceRevision == revision && r.Told }
}

// objects opens a set.
func (w *world) objects(set string) string {
	w.t.Helper()
	sealed, err := w.bus.Sets().Get(context.Background(), set)
	w.check(err)
	plain, err := w.sealer.Open(set, sealed)
	w.check(err)
	return string(plain)
}

func (w *world) runsOf(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.runs[w.key(name)]
}

// awaitRun waits for one more run than before.
func (w *world) awaitRun(name string, before int) {
	w.t.Helper()
	for deadline := time.Now().Add(patient); w.runsOf(name) <= before; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("%s did not run", name)
		}
	}
}

// builds counts builds from now on, each time from the last count.
func (w *world) builds() func() int64 {
	last := w.handler.Renderer.Builds()
	return func() int64 {
		now := w.handler.Renderer.Builds()
		defer func() { last = now }()
		return now - last
	}
}

// collect keeps all that travels over a bus, and returns it as text.
func collect(t testing.TB, server *bustest.Server) func() string {
	t.Helper()
	nc := server.Raw()
	var mu sync.Mutex
	var all strings.Builder
	_, err := nc.Subscribe(">", func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(&all, "%s %v %s\n", m.Subject, m.Header, m.Data)
	})
	if err != nil {
		t.Fatal(err)
	}
	return func() string {
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		return all.String()
	}
}

// request asks for a run by annotation.
func (w *world) request(name string) {
	w.t.Helper()
	k := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
	patch := fmt.Sprintf(`{"metadata": {"annotations": {%q: %q}}}`, meta.ReconcileRequestAnnotation, time.Now().String())
	w.check(w.cluster.Client.Patch(context.Background(), k, client.RawPatch(types.MergePatchType, []byte(patch))))
}

func configMap(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: a}\ndata: {v: %q}\n", name, value)
}

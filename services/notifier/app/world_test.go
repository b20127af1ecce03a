package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	notifiersv1 "github.com/fluxcd/notification-controller/api/v1"
	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/controlplane"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/libs/service/servicetest"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
	"github.com/sluice-cd/sluice/services/notifier/internal/handler"
)

var plane *controlplane.ControlPlane

func TestMain(m *testing.M) {
	os.Exit(servicetest.Main(m, "../../../deploy/crds/*.yaml", func(c *controlplane.ControlPlane) { plane = c }))
}

// world is a running notifier with all that it talks to, in a namespace of its own. The test does what the other services do: it writes
// statuses and tells facts.
type world struct {
	*testing.T
	server  *bustest.Server
	bus     *bus.Conn
	cluster *kube.Cluster
	caches  *kube.Cluster // the notifier's
	ns      string
	stop    func() // the notifier
	sending func(*handler.Sending)
	noCross bool
	facts   int
}

func newWorld(t *testing.T, sending func(*handler.Sending)) *world {
	t.Helper()
	w := prepare(t, sending)
	w.run()
	return w
}

func prepare(t *testing.T, sending func(*handler.Sending)) *world {
	t.Helper()
	w := &world{T: t, ns: "test-" + strings.ReplaceAll(strings.ToLower(t.Name()), "/", "-"), sending: sending, server: bustest.Start(t)}
	w.bus = w.server.Connect()
	w.cluster = servicetest.Connect(t, plane, w.ns)
	return w
}

func (w *world) do(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// run starts the notifier, in place of one that runs; it ends with the test.
func (w *world) run() {
	w.Helper()
	if w.stop != nil {
		w.stop()
	}
	var err error
	w.caches, err = kube.Connect(kube.Options{Kubeconfig: plane.Kubeconfig(), UserAgent: "test", Log: bustest.Logger(w)})
	w.do(err)
	env := servicetest.Env(w, w.server.Connect(), w.caches, func(d *service.Deps) { d.NoCrossNamespaceRefs = w.noCross })
	c := DefaultConfig()
	sending := handler.Sending{MaxAge: c.MaxAge, GroupWait: c.GroupWait, Channels: c.Channels, AllowPrivate: true, Clock: handler.RealClock()}
	if w.sending != nil {
		w.sending(&sending)
	}
	ready := make(chan struct{})
	env.Ready = func() { close(ready) }
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, env, sending) }()
	w.stop = sync.OnceFunc(func() { cancel(); w.do(<-ended) })
	w.Cleanup(w.stop)
	select {
	case <-ready:
	case <-time.After(30 * time.Second):
		w.Fatal("notifier is not ready")
	}
}

func (w *world) create(obj client.Object) {
	w.Helper()
	obj.SetNamespace(w.ns)
	w.do(w.cluster.Client.Create(w.Context(), obj))
}

// channel makes a Provider, with a Secret where data is given, and an Alert for all objects of some kinds.
func (w *world) channel(name string, spec notifyv1.ProviderSpec, secret map[string]string, change func(*notifyv1.Alert), kinds ...string) {
	w.Helper()
	if secret != nil {
		w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: secret})
		spec.SecretRef = &meta.LocalObjectReference{Name: name}
	}
	w.create(&notifyv1.Provider{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec})
	a := &notifyv1.Alert{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: notifyv1.AlertSpec{ProviderRef: meta.LocalObjectReference{Name: name}}}
	for _, kind := range kinds {
		a.Spec.EventSources = append(a.Spec.EventSources, notifiersv1.CrossNamespaceObjectReference{Kind: kind, Name: "*"})
	}
	if change != nil {
		change(a)
	}
	w.create(a)
	w.eventually("the notifier knows the alert", func() bool {
		return w.caches == nil || w.caches.Cache.Get(w.Context(), client.ObjectKeyFromObject(a), &notifyv1.Alert{}) == nil
	})
}

func (w *world) eventually(what string, ok func() bool) {
	w.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	w.Fatalf("not within 30s: %s", what)
}

// repository makes a GitRepository, and app a Kustomization that follows it.
func (w *world) repository(name string) *sourcev1.GitRepository {
	w.Helper()
	r := &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: sourcev1.GitRepositorySpec{
		URL: "https://github.com/team/" + name + ".git", Interval: metav1.Duration{Duration: time.Hour},
	}}
	w.create(r)
	return r
}

func (w *world) app(name, source string) *kustomizev1.Kustomization {
	w.Helper()
	k := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: kustomizev1.KustomizationSpec{
		SourceRef: kustomizev1.CrossNamespaceSourceReference{Kind: "GitRepository", Name: source}, Path: "./" + name, Interval: metav1.Duration{Duration: time.Hour},
	}}
	w.create(k)
	return k
}

// tell publishes a fact.
func (w *world) tell(o *factsv1.ObjectReference, revision string, f *factsv1.Fact) {
	w.Helper()
	w.facts++
	f.Id, f.Object, f.Revision = fmt.Sprintf("%s/%d", o.GetUid(), w.facts), o, revision
	w.do(w.bus.PublishFact(w.Context(), f, nil))
}

func ref(obj client.Object, api, kind string) *factsv1.ObjectReference {
	return &factsv1.ObjectReference{ApiVersion: api, Kind: kind, Namespace: obj.GetNamespace(), Name: obj.GetName(), Uid: string(obj.GetUID()), Generation: obj.GetGeneration()}
}

func repoRef(r *sourcev1.GitRepository) *factsv1.ObjectReference {
	return ref(r, sourcev1.GroupVersion.String(), sourcev1.GitRepositoryKind)
}

// revised does what git-watcher does with a new commit.
func (w *world) revised(r *sourcev1.GitRepository, before, revision, subject string) {
	w.Helper()
	key := bus.RecordKey(state.StageGit, client.ObjectKeyFromObject(r))
	entry, err := w.bus.GetState(w.Context(), key)
	w.do(err)
	data, err := json.Marshal(map[string]any{"state": state.Source{UID: r.UID, Artifact: &meta.Artifact{Revision: revision}}})
	w.do(err)
	_, err = w.bus.PutState(w.Context(), key, data, 0, bus.Condition{Key: key, Revision: entry.Revision})
	w.do(err)
	w.tell(repoRef(r), revision, &factsv1.Fact{Kind: &factsv1.Fact_SourceRevised{SourceRevised: &factsv1.SourceRevised{
		Revision: revision, PreviousRevision: before, ArtifactDigest: "sha256:" + revision, Url: r.Spec.URL, DetectedTime: timestamppb.Now(),
		Commit: &factsv1.Commit{Author: "Ann <ann@example.com>", Subject: subject, Time: timestamppb.Now()},
	}}})
}

// rendered and applied do what manifest-renderer and applier do.
func (w *world) rendered(k *kustomizev1.Kustomization, revision string, unchanged bool) {
	w.Helper()
	w.tell(kube.KustomizationReference(k), revision, &factsv1.Fact{Kind: &factsv1.Fact_ManifestsRendered{ManifestsRendered: &factsv1.ManifestsRendered{
		SourceRevision: revision, ObjectCount: 3, Unchanged: unchanged,
	}}})
}

func (w *world) applied(k *kustomizev1.Kustomization, revision string, changed int32) {
	w.Helper()
	w.status(k, revision, metav1.ConditionTrue, meta.ReconciliationSucceededReason)
	a := &factsv1.Applied{Revision: revision, Counts: &factsv1.ApplyCounts{Configured: changed, Unchanged: 3 - changed}, Duration: durationpb.New(20 * time.Millisecond)}
	for i := range changed {
		a.ChangedObjects = append(a.ChangedObjects, &factsv1.ChangedObject{
			Object: &factsv1.ObjectReference{ApiVersion: "v1", Kind: "ConfigMap", Namespace: w.ns, Name: fmt.Sprintf("%s-%d", k.Name, i)},
			Action: factsv1.ChangeAction_CHANGE_ACTION_CONFIGURED,
		})
	}
	w.tell(kube.KustomizationReference(k), revision, &factsv1.Fact{Kind: &factsv1.Fact_Applied{Applied: a}})
}

func (w *world) failed(k *kustomizev1.Kustomization, revision, reason, message string) {
	w.Helper()
	w.status(k, revision, metav1.ConditionFalse, reason)
	w.tell(kube.KustomizationReference(k), revision, &factsv1.Fact{Kind: &factsv1.Fact_ApplyFailed{ApplyFailed: &factsv1.ApplyFailed{Reason: reason, Message: message}}})
}

func (w *world) status(k *kustomizev1.Kustomization, revision string, ready metav1.ConditionStatus, reason string) {
	w.Helper()
	before := k.DeepCopy()
	k.Status.LastAttemptedRevision = revision
	kube.SetCondition(&k.Status.Conditions, meta.ReadyCondition, ready, k.Generation, reason, revision)
	w.do(w.cluster.Client.Status().Patch(w.Context(), k, client.MergeFrom(before)))
}

// call is one request that a service got.
type call struct {
	Method, Path string
	Header       http.Header
	Body         string
	At           time.Time
}

// JSON reads a field of the body by its path.
func (c call) JSON(path ...string) any {
	var v any
	if json.Unmarshal([]byte(c.Body), &v) != nil {
		return nil
	}
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

// host is a service outside.
type host struct {
	*httptest.Server
	mu     sync.Mutex
	calls  []call // that were answered well
	failed int
	answer func(c call) (status int, body string)
	before func() // of each answer; nil for nothing
}

func newHost(t *testing.T) *host {
	h := &host{answer: func(call) (int, string) { return 200, "{}" }}
	h.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		c := call{r.Method, r.URL.Path, r.Header, string(body), time.Now()}
		h.mu.Lock()
		before := h.before
		h.mu.Unlock()
		if before != nil {
			before()
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		status, text := h.answer(c)
		if status < 300 {
			h.calls = append(h.calls, c)
		} else {
			h.failed++
		}
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(status)
		_, _ = io.WriteString(rw, text)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *host) got() []call {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]call(nil), h.calls...)
}

func (h *host) refusals() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failed
}

func (h *host) set(answer func(call) (int, string)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = answer
}

// events are the reasons of Events on an object.
func (w *world) events(name string) map[string]string {
	w.Helper()
	var list corev1.EventList
	w.do(w.cluster.Client.List(w.Context(), &list, client.InNamespace(w.ns)))
	out := map[string]string{}
	for _, e := range list.Items {
		if e.InvolvedObject.Name == name {
			out[e.Reason] = e.Message
		}
	}
	return out
}

// taken says whether every fact became what it means for people.
func (w *world) taken() bool {
	var known struct{ At bus.FactsPlace }
	last, err := w.bus.LastFact(w.Context())
	if err != nil {
		return false
	}
	_, err = stage.ReadState(w.Context(), w.bus, state.StageNews, types.NamespacedName{Name: "facts"}, &known)
	return err == nil && known.At.Sequence >= last
}

// quiet waits until all facts are taken and the outbox is empty, and says otherwise what is left in it.
func (w *world) quiet() {
	w.Helper()
	w.eventually("all facts to be taken", w.taken)
	var letters []bus.Letter
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var err error
		if letters, err = w.bus.Letters(w.Context(), bus.StreamOutbox, noChannel, true); err == nil && len(letters) == 0 {
			return
		}
	}
	for _, l := range letters[:min(len(letters), 10)] {
		w.Logf("left: %s %s %s", l.Channel, l.Since, l.Data)
	}
	w.Fatalf("%d letters are still in the outbox after 30s", len(letters))
}

var noChannel types.NamespacedName

func revision(n int) string { return fmt.Sprintf("main@sha1:%040x", n) }

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

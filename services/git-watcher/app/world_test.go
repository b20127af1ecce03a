package app

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/archive"
	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/controlplane"
	"github.com/sluice-cd/sluice/libs/gittest"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/libs/service/servicetest"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
)

var plane *controlplane.ControlPlane

func TestMain(m *testing.M) {
	os.Exit(servicetest.Main(m, "../../../deploy/crds/source.toolkit.fluxcd.io_gitrepositories.yaml", func(c *controlplane.ControlPlane) { plane = c }))
}

// world is a running git-watcher with all that it talks to, in a namespace of its own.
type world struct {
	*testing.T
	server  *gittest.Server
	bus     *bus.Conn
	cluster *kube.Cluster
	ns      string
	config  Config
}

func newWorld(t *testing.T, o gittest.Options, change func(*Config)) *world {
	t.Helper()
	w := &world{T: t, ns: "test-" + strings.ToLower(strings.NewReplacer("/", "-", " ", "-", "_", "-").Replace(t.Name())), config: DefaultConfig()}
	var err error
	if w.server, err = gittest.NewServer(t.TempDir(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.server.Close() })
	w.bus = bustest.Start(t).Connect()
	w.cluster = servicetest.Connect(t, plane, w.ns)
	w.config.DataDir, w.config.ArtifactAddr, w.config.ArtifactURL = t.TempDir(), "127.0.0.1:0", ""
	if change != nil {
		change(&w.config)
	}
	w.run()
	return w
}

// run starts the service; it ends with the test.
func (w *world) run() {
	w.Helper()
	servicetest.Start(w, servicetest.Env(w, w.bus, w.cluster), func(ctx context.Context, env *service.Env) error { return Run(ctx, env, w.config) })
}

func (w *world) do(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) repository(name string, files ...string) *gittest.Repository {
	w.Helper()
	r, err := w.server.CreateRepository(w.Context(), name)
	w.do(err)
	if len(files) > 0 {
		w.commit(r, files...)
	}
	return r
}

func (w *world) commit(r *gittest.Repository, files ...string) string {
	w.Helper()
	c := gittest.Commit{Files: map[string]string{}}
	for i := 0; i < len(files); i += 2 {
		c.Files[files[i]] = files[i+1]
	}
	hash, err := r.Commit(w.Context(), c)
	w.do(err)
	return hash
}

func (w *world) secret(name string, data map[string][]byte) {
	w.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}, Data: data}
	err := w.cluster.Client.Create(w.Context(), s)
	if client.IgnoreAlreadyExists(err) == nil && err != nil {
		err = w.cluster.Client.Update(w.Context(), s)
	}
	w.do(err)
}

// create makes a GitRepository that follows main of a repository of the same name.
func (w *world) create(name string, change func(*sourcev1.GitRepositorySpec)) *sourcev1.GitRepository {
	w.Helper()
	repo := &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name, Labels: map[string]string{"test": w.ns}}}
	repo.Spec = sourcev1.GitRepositorySpec{
		URL: w.server.URL(name), Reference: &sourcev1.GitRepositoryRef{Branch: "main"}, Interval: metav1.Duration{Duration: time.Hour},
	}
	if change != nil {
		change(&repo.Spec)
	}
	w.do(w.cluster.Client.Create(w.Context(), repo))
	return repo
}

func (w *world) change(name string, change func(*sourcev1.GitRepository)) {
	w.Helper()
	repo := w.get(name)
	before := repo.DeepCopy()
	change(repo)
	w.do(w.cluster.Client.Patch(w.Context(), repo, client.MergeFrom(before)))
}

// poke asks for a look at the repository now, and returns when it was taken.
func (w *world) poke(name string) *sourcev1.GitRepository {
	w.Helper()
	now := time.Now().Format(time.RFC3339Nano)
	w.change(name, func(r *sourcev1.GitRepository) {
		r.Annotations = map[string]string{meta.ReconcileRequestAnnotation: now}
	})
	return w.until(name, "looked at", func(r *sourcev1.GitRepository) bool { return r.Status.LastHandledReconcileAt == now })
}

func (w *world) get(name string) *sourcev1.GitRepository {
	w.Helper()
	repo := &sourcev1.GitRepository{}
	w.do(w.cluster.Client.Get(w.Context(), client.ObjectKey{Namespace: w.ns, Name: name}, repo))
	return repo
}

func (w *world) until(name, what string, ok func(*sourcev1.GitRepository) bool) *sourcev1.GitRepository {
	w.Helper()
	var repo *sourcev1.GitRepository
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if repo = w.get(name); ok(repo) {
			return repo
		}
	}
	w.Fatalf("%s is not %s: %s", name, what, conditions(repo))
	return nil
}

func conditions(repo *sourcev1.GitRepository) string {
	var parts []string
	for _, c := range repo.Status.Conditions {
		parts = append(parts, fmt.Sprintf("%s=%s/%s %q", c.Type, c.Status, c.Reason, c.Message))
	}
	return strings.Join(parts, "\n")
}

// is reads a condition as "status/reason"; empty where there is none.
func is(repo *sourcev1.GitRepository, kind string) string {
	c := apimeta.FindStatusCondition(repo.Status.Conditions, kind)
	if c == nil {
		return ""
	}
	return string(c.Status) + "/" + c.Reason
}

func (w *world) ready(name, revision string) *sourcev1.GitRepository {
	w.Helper()
	return w.until(name, "ready at "+revision, func(r *sourcev1.GitRepository) bool {
		return is(r, meta.ReadyCondition) == "True/Succeeded" && r.Status.ObservedGeneration == r.Generation && strings.HasSuffix(r.Status.Artifact.Revision, revision)
	})
}

// fails waits for a condition, and for Ready to be false for the same reason.
func (w *world) fails(name, kind, want string) *sourcev1.GitRepository {
	w.Helper()
	return w.until(name, kind+"="+want, func(r *sourcev1.GitRepository) bool {
		_, reason, _ := strings.Cut(want, "/")
		return is(r, kind) == want && is(r, meta.ReadyCondition) == "False/"+reason && r.Status.ObservedGeneration == r.Generation
	})
}

// files fetches the artifact that the status names, over HTTP as consumers do, and checks it.
func (w *world) files(repo *sourcev1.GitRepository) map[string]string {
	w.Helper()
	response, err := http.Get(repo.Status.Artifact.URL)
	w.do(err)
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	w.do(err)
	if response.StatusCode != http.StatusOK || archive.Digest(data) != repo.Status.Artifact.Digest || int64(len(data)) != *repo.Status.Artifact.Size {
		w.Fatalf("%s answers %d with %d bytes that are not %s", repo.Status.Artifact.URL, response.StatusCode, len(data), repo.Status.Artifact.Digest)
	}
	unpacked, err := archive.Unpack(w.Context(), strings.NewReader(string(data)), archive.Limits{})
	w.do(err)
	files := map[string]string{}
	for name, content := range unpacked {
		files[name] = string(content)
	}
	return files
}

// told lists the revisions of all facts source revised about an object.
func (w *world) told(name string) []string {
	w.Helper()
	stream, err := w.bus.JS.Stream(w.Context(), bus.StreamFacts)
	w.do(err)
	consumer, err := stream.OrderedConsumer(w.Context(), jetstream.OrderedConsumerConfig{})
	w.do(err)
	info, err := stream.Info(w.Context())
	w.do(err)
	var revisions []string
	for range info.State.Msgs {
		msg, err := consumer.Next(jetstream.FetchMaxWait(5 * time.Second))
		w.do(err)
		fact, err := bus.ParseFact(msg)
		w.do(err)
		if _, ok := fact.GetKind().(*factsv1.Fact_SourceRevised); ok && fact.GetObject().GetName() == name {
			revisions = append(revisions, fact.GetRevision())
		}
	}
	return revisions
}

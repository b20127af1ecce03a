package app

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	receiverv1 "github.com/fluxcd/notification-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/controlplane"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/libs/service/servicetest"
	hintsv1 "github.com/sluice-cd/sluice/proto/hints/v1"
)

var plane *controlplane.ControlPlane

func TestMain(m *testing.M) {
	os.Exit(servicetest.Main(m, "../../../deploy/crds/*.yaml", func(c *controlplane.ControlPlane) {
		plane = c
		if err := servicetest.Install(context.Background(), c, "testdata/*.yaml"); err != nil { // of what Flux alone serves
			panic(err)
		}
	}))
}

// world is one or more replicas of webhook-receiver with all that they talk to, in a namespace of their own.
type world struct {
	*testing.T
	server  *bustest.Server
	bus     *bus.Conn
	cluster *kube.Cluster
	ns      string
	config  Config
	addr    string

	heard *heard
}

// heard are the hints that were stored so far.
type heard struct {
	sync.Mutex
	hints []*hintsv1.Hint
}

// in is the world within a subtest.
func (w *world) in(t *testing.T) *world {
	sub := *w
	sub.T = t
	return &sub
}

type option func(*Config, *serviceDeps)

type serviceDeps = service.Deps

func newWorld(t *testing.T, options ...option) *world {
	t.Helper()
	w := &world{T: t, ns: "test-" + strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")), config: DefaultConfig(), heard: &heard{}}
	w.server = bustest.Start(t)
	w.bus = w.server.Connect()
	w.cluster = servicetest.Connect(t, plane, w.ns)
	w.followHints()
	w.addr = w.run(options...)
	return w
}

// followHints collects all hints.
func (w *world) followHints() {
	conn, since := w.server.Connect(), time.Now()
	servicetest.Background(w, func(ctx context.Context) {
		for ctx.Err() == nil {
			_ = conn.FollowHints(ctx, since, func() {}, func(at time.Time, batch *hintsv1.Batch) {
				since = at.Add(time.Nanosecond)
				w.heard.Lock()
				defer w.heard.Unlock()
				w.heard.hints = append(w.heard.hints, batch.GetHints()...)
			})
		}
	})
}

// run starts a replica, which has a cache of its own, and returns where it takes calls; it ends with the test.
func (w *world) run(options ...option) string {
	w.Helper()
	config := w.config
	config.Addr = freeAddr(w)
	env := servicetest.Env(w, w.server.Connect(), servicetest.Connect(w, plane, w.ns), func(d *service.Deps) {
		for _, o := range options {
			o(&config, d)
		}
	})
	servicetest.Start(w, env, func(ctx context.Context, env *service.Env) error { return Run(ctx, env, config) })
	return config.Addr
}

func freeAddr(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (w *world) do(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: w.ns, Name: name, Labels: map[string]string{servicetest.Label: w.ns}}
}

func (w *world) secret(name string, data map[string]string) {
	w.Helper()
	w.do(w.cluster.Client.Create(w.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}, StringData: data}))
}

// git names one GitRepository, which need not be there.
func git(name string) receiverv1.ReceiverResource {
	return receiverv1.ReceiverResource{CrossNamespaceObjectReference: receiverv1.CrossNamespaceObjectReference{Kind: "GitRepository", Name: name}}
}

// repository creates a GitRepository for expressions to look at.
func (w *world) repository(name string) {
	w.Helper()
	w.do(w.cluster.Client.Create(w.Context(), &sourcev1.GitRepository{ObjectMeta: w.meta(name), Spec: sourcev1.GitRepositorySpec{
		URL: "https://git.example.org/" + name, Interval: metav1.Duration{Duration: time.Hour},
	}}))
}

// receiver creates a Receiver that wakes the GitRepository app by the key in the Secret key.
func (w *world) receiver(name, kind string, change func(*receiverv1.Receiver)) {
	w.Helper()
	r := &receiverv1.Receiver{ObjectMeta: w.meta(name), Spec: receiverv1.ReceiverSpec{
		Type: kind, SecretRef: &meta.LocalObjectReference{Name: "key"}, Resources: []receiverv1.ReceiverResource{git("app")},
	}}
	if change != nil {
		change(r)
	}
	w.do(w.cluster.Client.Create(w.Context(), r))
}

func (w *world) get(name string) *receiverv1.Receiver {
	w.Helper()
	r := &receiverv1.Receiver{}
	w.do(w.cluster.Client.Get(w.Context(), types.NamespacedName{Namespace: w.ns, Name: name}, r))
	return r
}

// until waits for a Receiver to be as it shall be.
func (w *world) until(name, what string, is func(*receiverv1.Receiver) bool) *receiverv1.Receiver {
	w.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		r := w.get(name)
		if is(r) {
			return r
		}
		if time.Now().After(end) {
			w.Fatalf("%s is not %s: %+v", name, what, r.Status)
		}
	}
}

func condition(r *receiverv1.Receiver, kind string) string {
	c := apimeta.FindStatusCondition(r.Status.Conditions, kind)
	if c == nil {
		return ""
	}
	return string(c.Status) + "/" + c.Reason
}

// ready waits for a Receiver to be ready and returns its path.
func (w *world) ready(name string) string {
	w.Helper()
	return w.until(name, "ready", func(r *receiverv1.Receiver) bool {
		return condition(r, meta.ReadyCondition) == "True/Succeeded" && r.Status.ObservedGeneration == r.Generation
	}).Status.WebhookPath
}

// send makes one call and returns the status code. The answer must be empty.
func (w *world) send(method, path string, header map[string]string, body []byte) int {
	w.Helper()
	return w.sendTo(w.addr, method, path, header, body)
}

func (w *world) sendTo(addr, method, path string, header map[string]string, body []byte) int {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), method, "http://"+addr+path, bytes.NewReader(body))
	w.do(err)
	for k, v := range header {
		r.Header.Set(k, v)
	}
	answer, err := http.DefaultClient.Do(r)
	w.do(err)
	defer answer.Body.Close()
	var text bytes.Buffer
	_, _ = text.ReadFrom(answer.Body)
	if text.Len() > 0 {
		w.Errorf("the answer says %q", text.String())
	}
	return answer.StatusCode
}

// sendUntil makes the same call until the answer is as wanted: replicas learn of objects in their own time.
func (w *world) sendUntil(want int, method, path string, header map[string]string, body []byte) {
	w.Helper()
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		got := w.send(method, path, header, body)
		if got == want {
			return
		}
		if time.Now().After(end) {
			w.Fatalf("%s %s: answer %d, want %d", method, path, got, want)
		}
	}
}

// taken returns the hints so far, after all that were stored have come.
func (w *world) taken() []*hintsv1.Hint {
	w.Helper()
	stream, err := w.bus.JS.Stream(w.Context(), bus.StreamHints)
	w.do(err)
	info, err := stream.Info(w.Context())
	w.do(err)
	total := 0
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq && info.State.Msgs > 0; seq++ {
		msg, err := stream.GetMsg(w.Context(), seq)
		w.do(err)
		batch, err := bus.ParseHints(msg.Data)
		w.do(err)
		total += len(batch.GetHints())
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		w.heard.Lock()
		hints := w.heard.hints
		w.heard.Unlock()
		if len(hints) >= total {
			return hints
		}
		if time.Now().After(end) {
			w.Fatalf("%d hints came of %d", len(hints), total)
		}
	}
}

// wantHints wants a number of hints in all, of which the last names some objects.
func (w *world) wantHints(count int, last string) {
	w.Helper()
	hints := w.taken()
	if len(hints) != count {
		w.Fatalf("%d hints, want %d", len(hints), count)
	}
	if got := objects(hints[count-1]); got != last {
		w.Fatalf("the last hint names %q, want %q", got, last)
	}
}

// objects are the objects that a hint names.
func objects(h *hintsv1.Hint) string {
	var names []string
	for _, o := range h.GetObjects() {
		names = append(names, fmt.Sprintf("%s %s", o.GetKind(), o.GetName()))
	}
	return strings.Join(names, ", ")
}

func hmac256(key, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

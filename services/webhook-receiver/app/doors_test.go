package app

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	receiverv1 "github.com/fluxcd/notification-controller/api/v1"
	"github.com/fluxcd/pkg/apis/acl"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/bus"
)

// Who proves nothing learns nothing: not whether there is somebody at an address, nor what they would take.
func TestStrangers(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *serviceDeps) { c.MaxBody = 4096 })
	w.secret("key", map[string]string{"token": token})
	w.receiver("app", "github", nil)
	w.receiver("elsewhere", "generic", func(r *receiverv1.Receiver) {
		r.Annotations = map[string]string{"sluice.dev/allow-sources": "192.0.2.0/24, 2001:db8::/32"}
	})
	path, elsewhere := w.ready("app"), w.ready("elsewhere")
	unknown := "/hook/" + strings.Repeat("0", 64)
	body := []byte(`{}`)
	w.sendUntil(http.StatusOK, "POST", path, map[string]string{"X-Hub-Signature-256": hmac256([]byte(token), body)}, body)
	type probe struct {
		method, path string
		header       map[string]string
		body         []byte
	}
	large := bytes.Repeat([]byte("a"), 5000)
	for what, probes := range map[string][]probe{
		"nothing proven": {{"POST", unknown, nil, body}, {"POST", path, nil, body}, {"POST", elsewhere, nil, body}, {"POST", path, map[string]string{"X-Hub-Signature": "sha1=00"}, body}},
		"other methods":  {{"GET", unknown, nil, nil}, {"GET", path, nil, nil}, {"DELETE", path, nil, nil}, {"PUT", path, nil, body}},
		"too large":      {{"POST", unknown, nil, large}, {"POST", path, nil, large}, {"POST", elsewhere, nil, large}},
		"other paths":    {{"POST", unknown, nil, body}, {"POST", "/", nil, body}, {"POST", "/hook/", nil, body}, {"POST", "/hook/github", nil, body}, {"POST", path + "/", nil, body}, {"POST", "/metrics", nil, body}},
	} {
		var want string
		for i, p := range probes {
			got := w.rawAnswer(p.method, p.path, p.header, p.body)
			if i == 0 {
				want = got
			} else if got != want {
				t.Errorf("%s: %s %s: %s\nwant as for nobody: %s", what, p.method, p.path, got, want)
			}
		}
	}
	if n := len(w.taken()); n != 1 {
		t.Errorf("%d hints", n)
	}
}

// rawAnswer is all that a caller gets to see, but for the date.
func (w *world) rawAnswer(method, path string, header map[string]string, body []byte) string {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), method, "http://"+w.addr+path, bytes.NewReader(body))
	w.do(err)
	for k, v := range header {
		r.Header.Set(k, v)
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	w.do(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	w.do(err)
	answer.Header.Del("Date")
	return fmt.Sprint(answer.StatusCode, answer.Header, string(text))
}

// While a key is changed, calls with the old and the new one are taken, at both addresses; then the old one is worth nothing.
func TestRotation(t *testing.T) {
	w := newWorld(t)
	w.secret("key", map[string]string{"token": "old"})
	w.receiver("app", "generic-hmac", nil)
	old, body := w.ready("app"), []byte(`{}`)
	sign := func(key string) map[string]string {
		return map[string]string{"X-Signature": hmac256([]byte(key), body)}
	}
	w.sendUntil(http.StatusOK, "POST", old, sign("old"), body)
	secret := &corev1.Secret{}
	set := func(data map[string][]byte) {
		t.Helper()
		w.do(w.cluster.Client.Get(t.Context(), types.NamespacedName{Namespace: w.ns, Name: "key"}, secret))
		secret.Data = data
		w.do(w.cluster.Client.Update(t.Context(), secret))
	}
	set(map[string][]byte{"token": []byte("new"), "token.previous": []byte("old")})
	w.sendUntil(http.StatusOK, "POST", old, sign("new"), body) // without anybody telling: the call itself makes the key be read again
	w.sendUntil(http.StatusOK, "POST", old, sign("old"), body)
	w.request("app")
	path := w.until("app", "at its new address", func(r *receiverv1.Receiver) bool { return r.Status.WebhookPath != old }).Status.WebhookPath
	w.sendUntil(http.StatusOK, "POST", path, sign("old"), body)
	w.sendUntil(http.StatusOK, "POST", path, sign("new"), body)
	set(map[string][]byte{"token": []byte("new")})
	w.request("app")
	w.sendUntil(http.StatusNotFound, "POST", old, sign("old"), body)
	w.sendUntil(http.StatusNotFound, "POST", path, sign("old"), body)
	w.sendUntil(http.StatusOK, "POST", path, sign("new"), body)
	w.do(w.cluster.Client.Delete(t.Context(), secret))
	w.request("app")
	w.sendUntil(http.StatusNotFound, "POST", path, sign("new"), body)
}

// request asks for a look at a Receiver.
func (w *world) request(name string) {
	w.Helper()
	w.change(name, func(r *receiverv1.Receiver) {
		r.Annotations = map[string]string{meta.ReconcileRequestAnnotation: time.Now().Format(time.RFC3339Nano)}
	})
}

func (w *world) change(name string, change func(*receiverv1.Receiver)) {
	w.Helper()
	r := w.get(name)
	before := r.DeepCopy()
	change(r)
	w.do(w.cluster.Client.Patch(w.Context(), r, client.MergeFrom(before)))
}

// A call wakes what the Receiver says, as far as labels, expressions and events let it.
func TestSelection(t *testing.T) {
	w := newWorld(t)
	w.secret("key", map[string]string{"token": token})
	for name, team := range map[string]string{"shop": "a", "shop-two": "a", "blog": "b"} {
		repo := &sourcev1.GitRepository{ObjectMeta: w.meta(name), Spec: sourcev1.GitRepositorySpec{URL: "https://git.example.org/" + name, Interval: metav1.Duration{Duration: time.Hour}}}
		repo.Labels["team"] = team
		w.do(w.cluster.Client.Create(t.Context(), repo))
	}
	all := func(filter string) receiverv1.ReceiverResource {
		r := git("*")
		r.MatchLabels, r.Filter = map[string]string{"team": "a"}, filter
		return r
	}
	body := []byte(`{"tag": "shop:1.2", "ref": "main"}`)
	for name, test := range map[string]struct {
		change func(*receiverv1.ReceiverSpec)
		code   int
		want   string
	}{
		"by-name": {func(s *receiverv1.ReceiverSpec) {
			s.Resources = []receiverv1.ReceiverResource{git("shop"), git("none")}
		}, 200, "GitRepository shop, GitRepository none"},
		"by-labels": {func(s *receiverv1.ReceiverSpec) { s.Resources = []receiverv1.ReceiverResource{all("")} }, 200, "GitRepository shop, GitRepository shop-two"},
		"filtered": {func(s *receiverv1.ReceiverSpec) {
			s.Resources, s.ResourceFilter = []receiverv1.ReceiverResource{all("")}, "req.tag.startsWith(res.metadata.name + ':')"
		}, 200, "GitRepository shop"},
		"per-entry": {func(s *receiverv1.ReceiverSpec) {
			s.Resources, s.ResourceFilter = []receiverv1.ReceiverResource{all("res.metadata.name != 'shop'"), git("blog")}, "req.ref == 'main'"
		}, 200, "GitRepository shop-two, GitRepository blog"},
		"last": {func(s *receiverv1.ReceiverSpec) {
			s.Resources, s.ResourceFilter = []receiverv1.ReceiverResource{all("")}, "req.tag.split(':').first().value() == res.metadata.name"
		}, 200, "GitRepository shop"},
		"none": {func(s *receiverv1.ReceiverSpec) { s.ResourceFilter = "false" }, 200, ""},
		"missing": {func(s *receiverv1.ReceiverSpec) {
			s.Resources, s.ResourceFilter = []receiverv1.ReceiverResource{git("none")}, "true"
		}, 200, ""},
		"no-field": {func(s *receiverv1.ReceiverSpec) {
			s.Resources = []receiverv1.ReceiverResource{all("req.nothing == 'x'"), git("blog")}
		}, 500, "GitRepository blog"},
		"endless": {func(s *receiverv1.ReceiverSpec) {
			s.Resources = []receiverv1.ReceiverResource{all("[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, [1,2,3,4,5,6,7,8,9,10].all(e, [1,2,3,4,5,6,7,8,9,10].all(f, [1,2,3,4,5,6,7,8,9,10].all(g, a+b+c+d+e+f+g > 0)))))))"), git("blog")}
		}, 500, "GitRepository blog"},
		"other-kind": {func(s *receiverv1.ReceiverSpec) {
			s.Resources = []receiverv1.ReceiverResource{kind("Kustomization", "x"), kind("HelmRelease", "y")}
		}, 200, "Kustomization x, HelmRelease y"},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			w.receiver(name, "generic", func(r *receiverv1.Receiver) { test.change(&r.Spec) })
			path, before := w.ready(name), len(w.taken())
			w.sendUntil(test.code, "POST", path, map[string]string{"Content-Type": "application/json", "Idempotency-Key": name}, body)
			after := w.taken()
			var got string
			for _, h := range after[before:] {
				got += objects(h)
			}
			if diff := cmp.Diff(strings.Split(test.want, ", "), strings.Split(got, ", "), cmp.Transformer("sort", sorted)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func sorted(list []string) map[string]bool {
	set := map[string]bool{}
	for _, s := range list {
		set[s] = true
	}
	return set
}

func kind(kind, name string) receiverv1.ReceiverResource {
	return receiverv1.ReceiverResource{CrossNamespaceObjectReference: receiverv1.CrossNamespaceObjectReference{Kind: kind, Name: name}}
}

// Events that a Receiver does not name are answered well and wake nobody; a suspended one, and one whose spec is wrong, tell the host to come again.
func TestClosed(t *testing.T) {
	w := newWorld(t, func(_ *Config, d *serviceDeps) { d.NoCrossNamespaceRefs = true })
	w.secret("key", map[string]string{"token": token})
	h, body := hosts["github"], sample(t, "github.json")
	w.receiver("app", "github", func(r *receiverv1.Receiver) { r.Spec.Events = []string{"ping", "PUSH"} })
	path := w.ready("app")
	other := h.headers(token, body, "1")
	other["X-GitHub-Event"] = "issues"
	w.sendUntil(http.StatusOK, "POST", path, other, body)
	if n := len(w.taken()); n != 0 {
		t.Errorf("%d hints of an event that does not count", n)
	}
	w.change("app", func(r *receiverv1.Receiver) { r.Spec.Suspend = true })
	w.sendUntil(http.StatusServiceUnavailable, "POST", path, h.headers(token, body, "2"), body)
	if got := w.send("POST", path, h.headers("other", body, "2"), body); got != http.StatusNotFound {
		t.Errorf("who proves nothing is told that it is suspended: %d", got)
	}
	w.change("app", func(r *receiverv1.Receiver) { r.Spec.Suspend, r.Spec.ResourceFilter = false, "req.(" })
	r := w.until("app", "stalled", func(r *receiverv1.Receiver) bool {
		return condition(r, meta.StalledCondition) == "True/"+meta.InvalidCELExpressionReason
	})
	if r.Status.ObservedGeneration != r.Generation || condition(r, meta.ReadyCondition) != "False/"+meta.InvalidCELExpressionReason {
		t.Errorf("%+v", r.Status)
	}
	w.sendUntil(http.StatusServiceUnavailable, "POST", path, h.headers(token, body, "3"), body)
	w.change("app", func(r *receiverv1.Receiver) { r.Spec.ResourceFilter = "" })
	w.ready("app")
	w.sendUntil(http.StatusOK, "POST", path, h.headers(token, body, "4"), body)
	for reason, change := range map[string]func(*receiverv1.Receiver){
		acl.AccessDeniedReason:            func(r *receiverv1.Receiver) { r.Spec.Resources[0].Namespace = "default" },
		receiverv1.ValidationFailedReason: func(r *receiverv1.Receiver) { r.Spec.Resources[0].Name = "*" },
		meta.InvalidCELExpressionReason:   func(r *receiverv1.Receiver) { r.Spec.ResourceFilter = "'text'" },
		receiverv1.ValidationFailedReason + " ": func(r *receiverv1.Receiver) {
			r.Annotations = map[string]string{"sluice.dev/allow-sources": "somewhere"}
		},
	} {
		name := "bad-" + strings.ToLower(strings.TrimSpace(reason)) + fmt.Sprint(len(reason))
		w.receiver(name, "github", change)
		w.until(name, reason, func(r *receiverv1.Receiver) bool {
			return condition(r, meta.ReadyCondition) == "False/"+strings.TrimSpace(reason) && condition(r, meta.StalledCondition) != ""
		})
	}
}

// Behind proxies of ours the networks count from which a call comes in truth; and each source has a budget of its own.
func TestSources(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *serviceDeps) {
		c.TrustedProxies, c.SourceRate, c.SourceBurst = []string{"127.0.0.1", "10.0.0.0/8"}, 0.001, 5
	})
	w.secret("key", map[string]string{"token": token})
	w.receiver("app", "generic", func(r *receiverv1.Receiver) {
		r.Annotations = map[string]string{"sluice.dev/allow-sources": "192.0.2.0/24"}
	})
	path := w.ready("app")
	from := func(hops string) int { return w.send("POST", path, map[string]string{"X-Forwarded-For": hops}, nil) }
	for hops, want := range map[string]int{
		"192.0.2.7": 200, "192.0.2.8, 10.1.2.3": 200, "198.51.100.1": 404, "192.0.2.9, 198.51.100.2": 404, "nonsense": 404, "192.0.2.9, nonsense": 404, "": 404,
		"::ffff:192.0.2.10": 200,
	} {
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) { // until the replica has seen the Receiver
			got := from(hops)
			if got == want {
				break
			}
			if got == http.StatusTooManyRequests || time.Now().After(end) {
				t.Fatalf("%q: %d, want %d", hops, got, want)
			}
		}
	}
	for i := range 8 {
		if got, last := from("192.0.2.50"), i >= 5; (got == http.StatusTooManyRequests) != last {
			t.Errorf("call %d of one source: %d", i+1, got)
		}
	}
	if got := from("192.0.2.51"); got != http.StatusOK {
		t.Errorf("another source: %d", got)
	}
}

// What one replica took another knows, also one that starts later, and after the bus was away.
func TestReplicas(t *testing.T) {
	w := newWorld(t)
	w.secret("key", map[string]string{"token": token})
	w.receiver("app", "github", nil)
	path, h, body := w.ready("app"), hosts["github"], sample(t, "github.json")
	w.sendUntil(http.StatusOK, "POST", path, h.headers(token, body, "1"), body)
	second := w.run()
	if got := w.sendTo(second, "POST", path, h.headers(token, body, "1"), body); got != http.StatusOK {
		t.Errorf("replayed to another replica: %d", got)
	}
	w.wantHints(1, "GitRepository app")
	w.server.Restart(false)
	third := w.run()
	for _, addr := range []string{w.addr, second, third} {
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			got := w.sendTo(addr, "POST", path, h.headers(token, body, "1"), body)
			if got == http.StatusOK {
				break
			}
			if got != http.StatusServiceUnavailable || time.Now().After(end) {
				t.Fatalf("after the bus was away: %d", got)
			}
		}
	}
	w.wantHints(1, "GitRepository app")
}

// Many at once: all are answered well, in few writes, and the same call many times at once is one hint.
func TestMany(t *testing.T) {
	w := newWorld(t)
	w.secret("key", map[string]string{"token": token})
	w.receiver("app", "generic", nil)
	path := w.ready("app")
	w.sendUntil(http.StatusOK, "POST", path, map[string]string{"Idempotency-Key": "first"}, nil)
	var all sync.WaitGroup
	for i := range 400 {
		all.Go(func() {
			if got := w.send("POST", path, map[string]string{"Idempotency-Key": fmt.Sprint(i % 100)}, nil); got != http.StatusOK {
				t.Errorf("call %d: %d", i, got)
			}
		})
	}
	all.Wait()
	w.wantHints(101, "GitRepository app")
}

// Without the bus a host is told to come again; nothing that was answered well is lost.
func TestBusAway(t *testing.T) {
	w := newWorld(t)
	w.secret("key", map[string]string{"token": token})
	w.receiver("app", "generic", nil)
	path := w.ready("app")
	w.sendUntil(http.StatusOK, "POST", path, map[string]string{"Idempotency-Key": "1"}, nil)
	w.server.Stop()
	r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+w.addr+path, nil)
	w.do(err)
	r.Header.Set("Idempotency-Key", "2")
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		answer, err := http.DefaultClient.Do(r)
		w.do(err)
		_ = answer.Body.Close()
		if answer.StatusCode == http.StatusServiceUnavailable {
			if answer.Header.Get("Retry-After") == "" {
				t.Error("the host is not told when to come again")
			}
			break
		}
		if time.Now().After(end) {
			t.Fatalf("answer %d without a bus", answer.StatusCode)
		}
	}
	w.server.Restart(false)
	w.sendUntil(http.StatusOK, "POST", path, map[string]string{"Idempotency-Key": "2"}, nil)
	w.wantHints(2, "GitRepository app")
}

// The installation's own addresses take calls for all, by the names in the bodies alone.
func TestOwnAddresses(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"token": "for-all\n", "github": "of-github\n", "github.previous": "before\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t, func(c *Config, _ *serviceDeps) { c.EndpointKeysDir = dir })
	names := map[string]string{
		"github": "github.com/codertocat/hello-world", "gitea": "localhost/example/example", "gitlab": "example.com/mike/diaspora",
		"bitbucket": "bitbucket.redacted.com/scm/~abursavich/hook-test", "harbor": "hub.harbor.com/test-webhook/debian",
		"dockerhub": "index.docker.io/svendowideit/testhook", "quay": "quay.io/hiddeco/foo", "acr": "myregistry.azurecr.io/hello-world",
		"cdevents": "example.org/testrepo/testorg",
	}
	count := 0
	for kind, want := range names {
		h, key, path := hosts[kind], "for-all", "/hook/"+kind
		if kind == "github" {
			key = "of-github"
		}
		if h.prove == nil {
			sum := sha256.Sum256([]byte(key))
			path += "/" + hex.EncodeToString(sum[:])
		}
		body := sample(t, h.file)
		if got := w.send("POST", path, h.headers(key, body, "1"), body); got != http.StatusOK {
			t.Errorf("%s: %d", kind, got)
			continue
		}
		hints := w.taken()
		if count++; len(hints) != count {
			t.Fatalf("%s: %d hints, want %d", kind, len(hints), count)
		}
		last := hints[count-1]
		if named := append(last.GetRepositories(), last.GetImages()...); len(named) == 0 || named[0] != want || last.GetReceiver() != nil || len(last.GetObjects()) != 0 {
			t.Errorf("%s: %v", kind, last)
		}
	}
	h, body := hosts["github"], sample(t, "github.json")
	for what, test := range map[string]struct {
		key, event string
		code       int
	}{
		"the key before": {"before", "create", 200}, "the key of others": {"for-all", "push", 404}, "an event that moves nothing": {"of-github", "star", 200},
	} {
		header := h.headers(test.key, body, what)
		header["X-GitHub-Event"] = test.event
		if got := w.send("POST", "/hook/github", header, body); got != test.code {
			t.Errorf("%s: %d, want %d", what, got, test.code)
		}
	}
	for _, path := range []string{"/hook/dockerhub", "/hook/quay/" + strings.Repeat("0", 64), "/hook/nexus", "/hook/generic-oidc", "/hook/svn"} {
		if got := w.send("POST", path, nil, []byte("{}")); got != http.StatusNotFound {
			t.Errorf("%s: %d", path, got)
		}
	}
}

// Objects of kinds that Sluice does not serve are woken as Flux does it.
func TestForeignObjects(t *testing.T) {
	w := newWorld(t)
	w.secret("key", map[string]string{"token": token})
	helm := schema.GroupVersionKind{Group: "source.toolkit.fluxcd.io", Version: "v1", Kind: "HelmRepository"}
	make := func(name string) {
		o := &unstructured.Unstructured{}
		o.SetGroupVersionKind(helm)
		o.SetNamespace(w.ns)
		o.SetName(name)
		o.SetLabels(map[string]string{"charts": "yes"})
		w.do(w.cluster.Client.Create(t.Context(), o))
	}
	make("one")
	make("two")
	// Served by Flux beside us: it has not our label.
	repo := &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "theirs"}, Spec: sourcev1.GitRepositorySpec{URL: "https://git.example.org/a", Interval: metav1.Duration{Duration: time.Hour}}}
	w.do(w.cluster.Client.Create(t.Context(), repo))
	ours := &sourcev1.GitRepository{ObjectMeta: w.meta("ours"), Spec: repo.Spec}
	w.do(w.cluster.Client.Create(t.Context(), ours))
	make("refused")
	w.refuse("refused")
	w.receiver("app", "generic", func(r *receiverv1.Receiver) {
		all := kind("HelmRepository", "*")
		all.MatchLabels, all.Filter = map[string]string{"charts": "yes"}, "res.metadata.name != 'two'"
		old := git("ours")
		old.APIVersion, old.Filter = "source.toolkit.fluxcd.io/v1beta2", "res.metadata.labels.test == '"+w.ns+"'"
		r.Spec.Resources = []receiverv1.ReceiverResource{kind("HelmRepository", "refused"), all, git("theirs"), old, git("none"), kind("Bucket", "none")}
	})
	w.sendUntil(http.StatusOK, "POST", w.ready("app"), nil, nil)
	asked := func(gvk schema.GroupVersionKind, name string) string {
		o := &metav1.PartialObjectMetadata{}
		o.SetGroupVersionKind(gvk)
		w.do(w.cluster.Client.Get(t.Context(), types.NamespacedName{Namespace: w.ns, Name: name}, o))
		return o.Annotations[meta.ReconcileRequestAnnotation]
	}
	gitKind := sourcev1.GroupVersion.WithKind("GitRepository")
	for end := time.Now().Add(20 * time.Second); asked(helm, "one") == "" || asked(gitKind, "theirs") == ""; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("what Flux serves is not woken")
		}
	}
	if asked(helm, "two") != "" || asked(gitKind, "ours") != "" {
		t.Error("woken by annotation: what a filter leaves out, or what a stage wakes")
	}
	if hints := w.taken(); !strings.Contains(objects(hints[0]), "GitRepository ours") {
		t.Errorf("an object named by an older version is not woken: %s", objects(hints[0]))
	}
	w.allUsed("annotate") // not again and again because of one that is refused
}

// refuse has the API server fail at each change of a HelmRepository.
func (w *world) refuse(name string) {
	w.Helper()
	away, fail, none := "https://127.0.0.1:1/", admissionv1.Fail, admissionv1.SideEffectClassNone
	w.do(w.cluster.Client.Create(w.Context(), &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: w.ns}, Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "refuse.example.org", ClientConfig: admissionv1.WebhookClientConfig{URL: &away}, FailurePolicy: &fail, SideEffects: &none,
			AdmissionReviewVersions: []string{"v1"}, NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"test": w.ns}},
			MatchConditions: []admissionv1.MatchCondition{{Name: "name", Expression: "object.metadata.name == '" + name + "'"}},
			Rules: []admissionv1.RuleWithOperations{{Operations: []admissionv1.OperationType{admissionv1.Update}, Rule: admissionv1.Rule{
				APIGroups: []string{"source.toolkit.fluxcd.io"}, APIVersions: []string{"*"}, Resources: []string{"helmrepositories"},
			}}},
		}},
	}))
}

// allUsed waits until those who follow hints under a name are done with all.
func (w *world) allUsed(name string) {
	w.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		consumer, err := w.bus.JS.Consumer(w.Context(), bus.StreamHints, name)
		w.do(err)
		info, err := consumer.Info(w.Context())
		w.do(err)
		if info.NumPending == 0 && info.NumAckPending == 0 {
			return
		}
		if time.Now().After(end) {
			w.Fatalf("%d hints wait, %d were taken and are not done", info.NumPending, info.NumAckPending)
		}
	}
}

// Nothing that is secret, and nothing of a body, is in the log.
func TestLog(t *testing.T) {
	var log syncBuffer
	w := newWorld(t, func(_ *Config, d *serviceDeps) {
		d.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	w.secret("key", map[string]string{"token": token})
	body := []byte(`{"word-of-the-body": 1`)
	for _, name := range []string{"generic-hmac", "gitlab", "harbor"} {
		h := hosts[name]
		w.receiver(name, name, nil)
		path := w.ready(name)
		w.sendUntil(http.StatusBadRequest, "POST", path, h.headers(token, body, ""), body)
		w.send("POST", path, h.headers("guess-of-a-stranger", body, ""), body)
	}
	for _, word := range []string{token, "word-of-the-body", "guess-of-a-stranger"} {
		if strings.Contains(log.String(), word) {
			t.Errorf("the log tells %q", word)
		}
	}
	if !strings.Contains(log.String(), "call refused") {
		t.Error("the log does not say that calls were refused")
	}
}

type syncBuffer struct {
	sync.Mutex
	bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.Lock()
	defer b.Unlock()
	return b.Buffer.Write(p)
}

func (b *syncBuffer) String() string {
	b.Lock()
	defer b.Unlock()
	return b.Buffer.String()
}

// Who sends slowly is not waited for, and holds up nobody.
func TestSlowCaller(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *serviceDeps) { c.Concurrency = 2 })
	w.secret("key", map[string]string{"token": token})
	w.receiver("app", "generic", nil)
	path := w.ready("app")
	w.sendUntil(http.StatusOK, "POST", path, nil, nil)
	for range 20 {
		c, err := net.Dial("tcp", w.addr)
		w.do(err)
		defer c.Close()
		_, err = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{", path)
		w.do(err)
	}
	began := time.Now()
	if got := w.send("POST", path, nil, nil); got != http.StatusOK || time.Since(began) > 2*time.Second {
		t.Errorf("%d after %s", got, time.Since(began))
	}
	before := len(w.taken())
	cut, err := net.Dial("tcp", w.addr)
	w.do(err)
	_, err = fmt.Fprintf(cut, "POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", path)
	w.do(err)
	w.do(cut.(*net.TCPConn).CloseWrite())
	if answer, err := io.ReadAll(cut); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400") || len(w.taken()) != before {
		t.Errorf("a body that is cut off: %q, %v", answer, err)
	}
	w.do(cut.Close())
	c, err := net.Dial("tcp", w.addr)
	w.do(err)
	defer c.Close()
	_, err = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHo", path)
	w.do(err)
	w.do(c.SetReadDeadline(time.Now().Add(15 * time.Second)))
	if _, err := io.ReadAll(c); err != nil {
		t.Errorf("a header that never ends is waited for: %v", err)
	}
}

// A Receiver that Flux left its finalizer on goes.
func TestDeletion(t *testing.T) {
	w := newWorld(t)
	w.secret("key", map[string]string{"token": token})
	w.receiver("app", "generic", func(r *receiverv1.Receiver) { r.Finalizers = []string{"finalizers.fluxcd.io"} })
	path := w.ready("app")
	w.sendUntil(http.StatusOK, "POST", path, nil, nil)
	w.do(w.cluster.Client.Delete(t.Context(), w.get("app")))
	w.sendUntil(http.StatusNotFound, "POST", path, nil, nil)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := w.cluster.Client.Get(t.Context(), types.NamespacedName{Namespace: w.ns, Name: "app"}, &receiverv1.Receiver{})
		if err != nil && client.IgnoreNotFound(err) == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the finalizer holds it")
		}
	}
}

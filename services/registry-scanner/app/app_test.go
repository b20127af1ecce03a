package app

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"github.com/fluxcd/pkg/apis/acl"
	"github.com/fluxcd/pkg/apis/meta"
	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
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
	"github.com/sluice-cd/sluice/libs/registry/registrytest"
	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/libs/service/servicetest"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
)

var plane *controlplane.ControlPlane

func TestMain(m *testing.M) {
	os.Exit(servicetest.Main(m, "../../../deploy/crds/image.toolkit.fluxcd.io_imagerepositories.yaml", func(c *controlplane.ControlPlane) { plane = c }))
}

// world is a running registry-scanner with all that it talks to, in a namespace of its own.
type world struct {
	*testing.T
	registry *registrytest.Server
	redis    *imagecachetest.Server
	cache    *imagecache.Cache
	bus      *bus.Conn
	cluster  *kube.Cluster
	ns       string
	config   Config
}

func newWorld(t *testing.T, o registrytest.Options, change func(*Config)) *world {
	t.Helper()
	w := &world{T: t, ns: "test-" + strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")), config: DefaultConfig()}
	w.registry, w.redis = registrytest.Start(t, o), imagecachetest.Start(t)
	w.config.Redis, w.config.Rate = w.redis.Options(), imagecache.Rate{PerSecond: 10_000, Burst: 10_000}
	w.cache = w.redis.Connect()
	w.bus = bustest.Start(t).Connect()
	w.cluster = servicetest.Connect(t, plane, w.ns)
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

func (w *world) secret(name string, data map[string]string) {
	w.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}, StringData: data}
	w.do(w.cluster.Client.Create(w.Context(), s))
}

func (w *world) login(name, user, password string) {
	w.secret(name, map[string]string{".dockerconfigjson": fmt.Sprintf(`{"auths":{%q:{"username":%q,"password":%q}}}`, w.registry.Host(), user, password)})
}

func (w *world) create(name string, change func(*imagev1.ImageRepositorySpec)) {
	w.Helper()
	repo := &imagev1.ImageRepository{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name, Labels: map[string]string{"test": w.ns}}}
	repo.Spec = imagev1.ImageRepositorySpec{Image: w.registry.Host() + "/org/app", Interval: metav1.Duration{Duration: time.Hour}}
	if change != nil {
		change(&repo.Spec)
	}
	w.do(w.cluster.Client.Create(w.Context(), repo))
}

func (w *world) get(name string) *imagev1.ImageRepository {
	w.Helper()
	repo := &imagev1.ImageRepository{}
	w.do(w.cluster.Client.Get(w.Context(), client.ObjectKey{Namespace: w.ns, Name: name}, repo))
	return repo
}

func (w *world) change(name string, change func(*imagev1.ImageRepository)) {
	w.Helper()
	repo := w.get(name)
	before := repo.DeepCopy()
	change(repo)
	w.do(w.cluster.Client.Patch(w.Context(), repo, client.MergeFrom(before)))
}

// poke asks for a scan now, and returns when one was answered.
func (w *world) poke(name string) *imagev1.ImageRepository {
	w.Helper()
	now := time.Now().Format(time.RFC3339Nano)
	w.change(name, func(r *imagev1.ImageRepository) {
		r.Annotations = map[string]string{meta.ReconcileRequestAnnotation: now}
	})
	return w.until(name, "scanned on request", func(r *imagev1.ImageRepository) bool { return r.Status.LastHandledReconcileAt == now })
}

func (w *world) until(name, what string, ok func(*imagev1.ImageRepository) bool) *imagev1.ImageRepository {
	w.Helper()
	var repo *imagev1.ImageRepository
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if repo = w.get(name); ok(repo) {
			return repo
		}
	}
	w.Fatalf("%s is not %s: %+v", name, what, repo.Status)
	return nil
}

// is reads a condition as "status/reason"; empty where there is none.
func is(repo *imagev1.ImageRepository, kind string) string {
	c := apimeta.FindStatusCondition(repo.Status.Conditions, kind)
	if c == nil {
		return ""
	}
	return string(c.Status) + "/" + c.Reason
}

func (w *world) ready(name string, tags int) *imagev1.ImageRepository {
	w.Helper()
	return w.until(name, fmt.Sprintf("ready with %d tags", tags), func(r *imagev1.ImageRepository) bool {
		return is(r, meta.ReadyCondition) == "True/Succeeded" && r.Status.ObservedGeneration == r.Generation && r.Status.LastScanResult.TagCount == tags
	})
}

func (w *world) fails(name, reason string) *imagev1.ImageRepository {
	w.Helper()
	return w.until(name, reason, func(r *imagev1.ImageRepository) bool {
		return is(r, meta.ReadyCondition) == "False/"+reason && r.Status.ObservedGeneration == r.Generation
	})
}

// known reads what the scanner saved about an object, and the listing that this names.
func (w *world) known(name string) (state.Scanned, *imagecache.Listing) {
	w.Helper()
	var known state.Scanned
	_, err := stage.ReadState(w.Context(), w.bus, state.StageScan, types.NamespacedName{Namespace: w.ns, Name: name}, &known)
	w.do(err)
	listing, err := w.cache.ListingOf(w.Context(), imagecache.Scope{Image: known.Image, Credential: known.Credential}, known.Listing)
	w.do(err)
	return known, listing
}

// told lists the facts image scanned about an object.
func (w *world) told(name string) []*factsv1.ImageScanned {
	w.Helper()
	stream, err := w.bus.JS.Stream(w.Context(), bus.StreamFacts)
	w.do(err)
	consumer, err := stream.OrderedConsumer(w.Context(), jetstream.OrderedConsumerConfig{})
	w.do(err)
	info, err := stream.Info(w.Context())
	w.do(err)
	var list []*factsv1.ImageScanned
	for range info.State.Msgs {
		msg, err := consumer.Next(jetstream.FetchMaxWait(5 * time.Second))
		w.do(err)
		fact, err := bus.ParseFact(msg)
		w.do(err)
		if f := fact.GetImageScanned(); f != nil && fact.GetObject().GetName() == name {
			list = append(list, f)
		}
	}
	return list
}

func TestScan(t *testing.T) {
	w := newWorld(t, registrytest.Options{}, nil)
	w.registry.SetTags("org/app", "1.0.0", "1.1.0", "1.1.0.sig", "latest")
	w.create("app", nil)
	repo := w.ready("app", 3)
	s := repo.Status
	if s.CanonicalImageName != w.registry.Host()+"/org/app" || !slices.Equal(s.ObservedExclusionList, []string{`^.*\.sig$`}) ||
		!slices.Equal(s.LastScanResult.LatestTags, []string{"latest", "1.1.0", "1.0.0"}) || s.LastScanResult.Revision == "" || time.Since(s.LastScanResult.ScanTime.Time) > time.Minute {
		t.Errorf("status is %+v", s)
	}
	if known, listing := w.known("app"); listing == nil || len(listing.Tags) != 4 || known.Tags != 3 || !known.Complete || known.Shrunk {
		t.Errorf("known is %+v, listing %+v", known, listing)
	}
	if n := w.registry.Count("GET "); n != 1 {
		t.Errorf("%d requests for one scan, want 1", n)
	}
	// Another object, and other exclusions, need no request.
	w.create("other", func(s *imagev1.ImageRepositorySpec) { s.ExclusionList = []string{"latest"} })
	w.ready("other", 3)
	w.change("app", func(r *imagev1.ImageRepository) { r.Spec.ExclusionList = []string{"^1"} })
	w.ready("app", 1)
	if n := w.registry.Count("GET "); n != 1 {
		t.Errorf("%d requests for one image and credential, want 1", n)
	}
	// A push that one object asks about reaches the other.
	w.registry.SetTags("org/app", "1.0.0", "1.1.0", "1.1.0.sig", "1.2.0", "latest")
	before := len(w.told("other"))
	w.poke("app")
	w.ready("other", 4)
	known, listing := w.known("other")
	if listing == nil || known.Previous != 4 {
		t.Errorf("the record of the sharer does not name the listing: %+v", known)
	}
	told := w.told("other")
	if len(told) != before+1 || told[len(told)-1].GetTagCount() != 4 || told[len(told)-1].GetListingDigest() != known.Listing {
		t.Errorf("told %v", told)
	}
	w.poke("app")
	if n := len(w.told("app")); n != 3 { // the first scan, the exclusions, the push
		t.Errorf("told %d facts about app, want 3", n)
	}
}

func TestListingsThatShrink(t *testing.T) {
	w := newWorld(t, registrytest.Options{}, nil)
	w.registry.SetTags("org/app", "1", "2", "3", "4", "5", "6")
	w.create("app", nil)
	w.ready("app", 6)
	w.registry.SetTags("org/app", "1", "2", "3")
	w.poke("app")
	w.ready("app", 3)
	if known, listing := w.known("app"); !known.Shrunk || known.Previous != 6 || known.Vanished != 3 || len(listing.Vanished) != 3 {
		t.Errorf("known is %+v", known)
	}
	w.registry.SetTags("org/app")
	w.poke("app")
	repo := w.ready("app", 0)
	if known, _ := w.known("app"); !known.Shrunk || known.Vanished != 6 || repo.Status.LastScanResult.LatestTags != nil {
		t.Errorf("known is %+v", known)
	}
	for name, fault := range map[string]func(http.ResponseWriter){
		"cut":    func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"tags":["1","2"`)) },
		"broken": func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) },
	} {
		w.registry.SetFault(func(rw http.ResponseWriter, _ *http.Request) bool { fault(rw); return true })
		before, _ := w.known("app")
		w.poke("app")
		w.fails("app", imagev1.ReadOperationFailedReason)
		if after, listing := w.known("app"); after.Listing != before.Listing || listing == nil {
			t.Errorf("%s: a bad answer replaced the listing", name)
		}
	}
}

func TestHugeListingGoesOn(t *testing.T) {
	w := newWorld(t, registrytest.Options{PageSize: 100}, nil)
	tags := make([]string, 3000)
	for i := range tags {
		tags[i] = fmt.Sprintf("v%05d", i)
	}
	w.registry.SetTags("org/app", tags...)
	pages, once := 0, true
	w.registry.SetFault(func(rw http.ResponseWriter, _ *http.Request) bool {
		if pages++; pages == 18 && once {
			once = false
			rw.Header().Set("Retry-After", "1")
			rw.WriteHeader(http.StatusTooManyRequests)
			return true
		}
		return false
	})
	w.create("app", nil)
	w.ready("app", 3000)
	if n := w.registry.Count("GET "); n != 31 {
		t.Errorf("%d requests for 30 pages and one refusal, want 31", n)
	}
}

func TestFailures(t *testing.T) {
	w := newWorld(t, registrytest.Options{Username: "user", Password: "secret", Token: true}, func(c *Config) {
		c.Exclude, c.InsecureHosts = []string{"*/org/left-out"}, nil
	})
	w.registry.SetTags("org/app", "1")
	w.login("good", "user", "secret")
	w.login("wrong", "user", "hunter2")
	w.secret("nonsense", map[string]string{"password": "hunter2"})
	named := func(name string) func(*imagev1.ImageRepositorySpec) {
		return func(s *imagev1.ImageRepositorySpec) { s.SecretRef = &meta.LocalObjectReference{Name: name} }
	}
	for name, test := range map[string]struct {
		change  func(*imagev1.ImageRepositorySpec)
		reason  string
		stalled bool
	}{
		"no-login":      {nil, imagev1.AuthenticationFailedReason, false},
		"wrong-login":   {named("wrong"), imagev1.AuthenticationFailedReason, false},
		"no-secret":     {named("missing"), imagev1.AuthenticationFailedReason, false},
		"no-config":     {named("nonsense"), imagev1.AuthenticationFailedReason, false},
		"unknown-image": {func(s *imagev1.ImageRepositorySpec) { named("good")(s); s.Image += "-x" }, imagev1.ReadOperationFailedReason, false},
		"scheme":        {func(s *imagev1.ImageRepositorySpec) { s.Image = "https://" + s.Image }, imagev1.ImageURLInvalidReason, true},
		"tag":           {func(s *imagev1.ImageRepositorySpec) { s.Image += ":1" }, imagev1.ImageURLInvalidReason, true},
		"expression":    {func(s *imagev1.ImageRepositorySpec) { s.ExclusionList = []string{"("} }, imagev1.ReadOperationFailedReason, true},
		"excluded":      {func(s *imagev1.ImageRepositorySpec) { s.Image = w.registry.Host() + "/org/left-out" }, "ImageExcluded", true},
		"insecure":      {func(s *imagev1.ImageRepositorySpec) { s.Insecure = true }, meta.InsecureConnectionsDisallowedReason, true},
		"identity":      {func(s *imagev1.ImageRepositorySpec) { s.Provider, s.ServiceAccountName = "aws", "someone" }, meta.FeatureGateDisabledReason, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.T = t
			w.create(name, test.change)
			repo := w.fails(name, test.reason)
			if stalled := is(repo, meta.StalledCondition) != ""; stalled != test.stalled {
				t.Errorf("stalled is %t, want %t", stalled, test.stalled)
			}
			if strings.Contains(fmt.Sprint(repo.Status), "hunter2") {
				t.Error("the status tells a secret")
			}
		})
	}
	w.create("good", named("good"))
	w.ready("good", 1)
	// What the service account's pull secrets open.
	w.do(w.cluster.Client.Create(t.Context(), &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "puller"}, ImagePullSecrets: []corev1.LocalObjectReference{{Name: "good"}},
	}))
	w.create("by-account", func(s *imagev1.ImageRepositorySpec) { s.ServiceAccountName = "puller" })
	w.ready("by-account", 1)
}

func TestRedisAway(t *testing.T) {
	w := newWorld(t, registrytest.Options{}, nil)
	w.registry.SetTags("org/app", "1", "2")
	w.create("app", nil)
	scanned := w.ready("app", 2)
	w.redis.Stop()
	w.poke("app")
	if repo := w.fails("app", imagev1.ReadOperationFailedReason); repo.Status.LastScanResult.Revision != scanned.Status.LastScanResult.Revision {
		t.Error("the last result is gone")
	}
	w.redis.Run() // empty
	w.ready("app", 2)
	if _, listing := w.known("app"); listing == nil {
		t.Error("the record names no listing after Redis came back")
	}
}

func TestSuspendAndDelete(t *testing.T) {
	w := newWorld(t, registrytest.Options{}, nil)
	w.registry.SetTags("org/app", "1")
	w.create("app", func(s *imagev1.ImageRepositorySpec) { s.Suspend = true })
	w.create("marker", nil)
	w.ready("marker", 1)
	if repo := w.get("app"); repo.Status.LastScanResult != nil {
		t.Errorf("a suspended object was scanned: %+v", repo.Status)
	}
	w.change("app", func(r *imagev1.ImageRepository) { r.Spec.Suspend, r.Finalizers = false, []string{kube.Finalizer} })
	w.ready("app", 1)
	w.do(w.cluster.Client.Delete(t.Context(), w.get("app")))
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := w.cluster.Client.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: "app"}, &imagev1.ImageRepository{})
		if client.IgnoreNotFound(err) == nil && err != nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the finalizer of Flux holds the object")
		}
	}
}

func TestMayRefer(t *testing.T) {
	w := newWorld(t, registrytest.Options{}, nil)
	may := func(from string, access *acl.AccessFrom) bool {
		t.Helper()
		ok, err := w.cluster.MayRefer(t.Context(), from, types.NamespacedName{Namespace: w.ns, Name: "app"}, access)
		w.do(err)
		return ok
	}
	byName := func(name string) *acl.AccessFrom {
		return &acl.AccessFrom{NamespaceSelectors: []acl.NamespaceSelector{{MatchLabels: map[string]string{"kubernetes.io/metadata.name": name}}}}
	}
	if !may(w.ns, nil) || may("default", nil) || may("default", byName("other")) || !may("default", byName("default")) ||
		!may("default", &acl.AccessFrom{NamespaceSelectors: []acl.NamespaceSelector{{}}}) || may("default", &acl.AccessFrom{}) {
		t.Error("access is not what accessFrom says")
	}
}

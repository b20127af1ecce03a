package app

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"github.com/fluxcd/pkg/apis/acl"
	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/registry/registrytest"
	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/libs/service/servicetest"
)

func TestChoose(t *testing.T) {
	w := newWorld(t, registrytest.Options{}, nil)
	w.registry.SetTags("org/app", "1.0.0", "1.1.0", "2.0.0-rc.1", "latest")
	w.repository("app", nil)
	w.create("app", nil)
	w.create("numbers", func(p *imagev1.ImagePolicy) {
		p.Spec.Policy = imagev1.ImagePolicyChoice{Numerical: &imagev1.NumericalPolicy{Order: "desc"}}
		p.Spec.FilterTags = &imagev1.TagFilter{Pattern: `^1\.(?P<minor>\d+)\.0$`, Extract: "$minor"}
	})
	w.chooses("app", "1.1.0")
	w.chooses("numbers", "1.0.0")
	image := w.registry.Host() + "/org/app"
	if c := w.chosen("app"); c.Image != image || c.Ref() != image+":1.1.0" || c.Held != "" || c.Repository != w.key("app") ||
		c.Decision.Considered != 4 || c.Decision.Counts["Lower"] != 1 || len(c.Decision.Rejected) != 3 {
		t.Errorf("chosen is %+v, %+v", c, c.Decision)
	}
	w.registry.SetTags("org/app", "1.0.0", "1.1.0", "1.2.0", "latest")
	w.scan("app")
	p := w.chooses("app", "1.2.0")
	ready := apimeta.FindStatusCondition(p.Status.Conditions, meta.ReadyCondition)
	if want := "Latest image tag for " + image + " resolved to 1.2.0 (previously " + image + ":1.1.0)"; ready.Message != want {
		t.Errorf("message is %q, want %q", ready.Message, want)
	}
	if p.Status.ObservedPreviousRef.Tag != "1.1.0" || w.chosen("app").Before != image+":1.1.0" {
		t.Errorf("the choice before is %+v", p.Status.ObservedPreviousRef)
	}
	w.poke("app")
	if got := w.told("app"); !slices.Equal(got, []string{"1.1.0", "1.2.0  " + image + ":1.1.0"}) {
		t.Errorf("told %q", got)
	}
	if n := w.registry.Count("HEAD "); n != 0 {
		t.Errorf("%d requests for manifests, want none", n)
	}
	// A lower one that is asked for.
	w.change("app", func(p *imagev1.ImagePolicy) { p.Spec.Policy.SemVer.Range = "1.0.x" })
	w.chooses("app", "1.0.0")
	w.change("app", func(p *imagev1.ImagePolicy) { p.Spec.Suspend = true; p.Spec.Policy.SemVer.Range = "1.x" })
	w.scan("app")
	w.create("marker", nil)
	w.chooses("marker", "1.2.0")
	if tag := w.get("app").Status.LatestRef.Tag; tag != "1.0.0" {
		t.Errorf("a suspended policy chose %s", tag)
	}
	w.change("app", func(p *imagev1.ImagePolicy) { p.Spec.Suspend, p.Finalizers = false, []string{kube.Finalizer} })
	w.chooses("app", "1.2.0")
	w.do(w.cluster.Client.Delete(t.Context(), w.get("app")))
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := w.cluster.Client.Get(t.Context(), w.key("app"), &imagev1.ImagePolicy{})
		if client.IgnoreNotFound(err) == nil && err != nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the finalizer of Flux holds the object")
		}
	}
}

func TestFailures(t *testing.T) {
	w := newWorld(t, registrytest.Options{}, nil)
	w.registry.SetTags("org/app", "0.1.0", "junk")
	w.repository("app", nil)
	w.repository("address", func(r *imagev1.ImageRepository) { r.Spec.Image = "https://" + r.Spec.Image })
	w.do(w.cluster.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.ns + "-other"}}))
	other := &imagev1.ImageRepository{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns + "-other", Name: "app"}}
	other.Spec = imagev1.ImageRepositorySpec{Image: w.registry.Host() + "/org/app", Interval: metav1.Duration{Duration: time.Hour}}
	w.do(w.cluster.Client.Create(t.Context(), other))
	annotation := func(key, value string) func(*imagev1.ImagePolicy) {
		return func(p *imagev1.ImagePolicy) { p.Annotations = map[string]string{"sluice.dev/" + key: value} }
	}
	for name, test := range map[string]struct {
		change  func(*imagev1.ImagePolicy)
		reason  string
		stalled bool
	}{
		"none-in-range": {nil, "Failure", false},
		"range":         {func(p *imagev1.ImagePolicy) { p.Spec.Policy.SemVer.Range = ">=one" }, "InvalidPolicy", true},
		"regex":         {func(p *imagev1.ImagePolicy) { p.Spec.FilterTags = &imagev1.TagFilter{Pattern: "("} }, "InvalidPolicy", true},
		"glob":          {annotation("tags", "glib:*"), "InvalidPolicy", true},
		"order":         {annotation("order", "oldest"), "InvalidPolicy", true},
		"platform":      {annotation("platform", "linux;amd64"), "InvalidPolicy", true},
		"age":           {annotation("min-age", "tomorrow"), "InvalidPolicy", true},
		"missing":       {func(p *imagev1.ImagePolicy) { p.Spec.ImageRepositoryRef.Name = "missing" }, imagev1.DependencyNotReadyReason, false},
		"address":       {func(p *imagev1.ImagePolicy) { p.Spec.ImageRepositoryRef.Name = "address" }, imagev1.ImageURLInvalidReason, true},
		"elsewhere":     {func(p *imagev1.ImagePolicy) { p.Spec.ImageRepositoryRef.Namespace = w.ns + "-other" }, acl.AccessDeniedReason, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.T = t
			w.create(name, test.change)
			p := w.fails(name, test.reason)
			if stalled := is(p, meta.StalledCondition) != ""; stalled != test.stalled {
				t.Errorf("stalled is %t, want %t", stalled, test.stalled)
			}
			if name != "missing" { // to wait is no news
				w.warned(name, test.reason)
			}
		})
	}
	// What accessFrom allows; and the image that nobody scanned is waited for, then chosen from.
	other.Spec.AccessFrom = &acl.AccessFrom{NamespaceSelectors: []acl.NamespaceSelector{{MatchLabels: map[string]string{servicetest.Label: w.ns}}}}
	w.do(w.cluster.Client.Update(t.Context(), other))
	w.poke("elsewhere")
	w.fails("elsewhere", imagev1.DependencyNotReadyReason)
	w.registry.SetTags("org/app", "0.1.0", "junk", "1.0.0")
	w.scan("app")
	w.chooses("none-in-range", "1.0.0")
}

func TestNoReferencesAcrossNamespaces(t *testing.T) {
	w := newWorld(t, registrytest.Options{}, func(d *service.Deps) { d.NoCrossNamespaceRefs = true })
	w.create("app", func(p *imagev1.ImagePolicy) { p.Spec.ImageRepositoryRef.Namespace = "default" })
	w.fails("app", acl.AccessDeniedReason)
}

func TestDigests(t *testing.T) {
	w := newWorld(t, registrytest.Options{}, nil)
	first := w.registry.Push(t, "org/app", "1.0.0", registrytest.Image{Created: time.Unix(1, 0)})
	w.repository("app", nil)
	digests := func(policy imagev1.ReflectionPolicy) func(*imagev1.ImagePolicy) {
		return func(p *imagev1.ImagePolicy) {
			p.Spec.DigestReflectionPolicy = policy
			if policy == imagev1.ReflectAlways {
				p.Spec.Interval = &metav1.Duration{Duration: time.Hour}
			}
		}
	}
	w.create("never", nil)
	w.create("once", digests(imagev1.ReflectIfNotPresent))
	w.create("always", digests(imagev1.ReflectAlways))
	check := func(name, want string) {
		t.Helper()
		w.until(name, "at digest "+want, func(p *imagev1.ImagePolicy) bool {
			return p.Status.LatestRef != nil && p.Status.LatestRef.Digest == want
		})
		if got := w.chosen(name).Digest; got != want {
			t.Errorf("record of %s has %q, want %q", name, got, want)
		}
	}
	w.chooses("never", "1.0.0")
	check("never", "")
	check("once", first)
	check("always", first)
	second := w.registry.Push(t, "org/app", "1.0.0", registrytest.Image{Created: time.Unix(2, 0)})
	w.poke("once")
	w.poke("always")
	check("once", first)
	check("always", second)
	w.registry.Reset()
	w.annotate("always", "sluice.dev/tags", "glob:1*")
	w.registry.SetTags("org/app", "1.0.0", "0.0.1")
	w.scan("app")
	w.create("marker", nil)
	w.chooses("marker", "1.0.0")
	if n := w.registry.Count("HEAD "); n != 0 {
		t.Errorf("%d requests for a digest that is fresh", n)
	}
	w.registry.SetFault(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodHead {
			return false
		}
		rw.WriteHeader(http.StatusUnauthorized)
		return true
	})
	w.poke("always")
	if p := w.fails("always", imagev1.AuthenticationFailedReason); p.Status.LatestRef.Digest != second {
		t.Error("the choice was lost with the password")
	}
}

func TestGates(t *testing.T) {
	w := newWorld(t, registrytest.Options{}, nil)
	w.registry.Push(t, "org/app", "1.0.0", registrytest.Image{Created: time.Unix(3000, 0), Platforms: []string{"linux/amd64", "linux/arm64"}})
	w.registry.Push(t, "org/app", "1.1.0", registrytest.Image{Created: time.Unix(1000, 0)})
	w.registry.Push(t, "org/app", "build-a", registrytest.Image{Created: time.Unix(2000, 0)})
	w.repository("app", nil)
	annotated := func(key, value string) func(*imagev1.ImagePolicy) {
		return func(p *imagev1.ImagePolicy) { p.Annotations = map[string]string{"sluice.dev/" + key: value} }
	}
	w.create("newest", annotated("order", "newest"))
	w.create("newest-build", func(p *imagev1.ImagePolicy) {
		p.Annotations = map[string]string{"sluice.dev/order": "newest", "sluice.dev/tags": "regex:^(build-|1.1)"}
	})
	w.create("arm", annotated("platform", "linux/arm64"))
	w.create("old", annotated("min-age", "240h"))
	w.create("aged", annotated("min-age", "2s"))
	w.chooses("newest", "1.0.0")
	w.chooses("newest-build", "build-a")
	w.chooses("arm", "1.0.0")
	w.fails("old", "Failure")
	w.chooses("aged", "1.1.0") // by itself, when it is time
	w.registry.Reset()
	// The newest build is pushed last, and only it is looked up.
	w.registry.Push(t, "org/app", "build-b", registrytest.Image{Created: time.Unix(4000, 0)})
	w.scan("app")
	w.chooses("newest", "build-b")
	w.chooses("newest-build", "build-b")
	if n := w.registry.Count("GET /v2/org/app/manifests/build-b"); n < 1 || n > 2 || w.registry.Count("GET /v2/org/app/manifests/") != n {
		t.Errorf("%d requests for the manifest of one new tag that two policies ask for, of %d for manifests", n, w.registry.Count("GET /v2/org/app/manifests/"))
	}
	// A tag whose manifest is gone is not chosen, and does not block the others.
	w.registry.SetTags("org/app", "1.0.0", "1.1.0", "build-a", "build-b", "build-c")
	w.scan("app")
	w.create("later", annotated("order", "newest"))
	w.chooses("later", "build-b")
}

func TestWhatIsMissingChangesNothing(t *testing.T) {
	w := newWorld(t, registrytest.Options{}, nil)
	w.registry.SetTags("org/app", "1.0.0", "1.1.0", "1.2.0")
	w.repository("app", nil)
	w.create("app", nil)
	w.create("young", func(p *imagev1.ImagePolicy) { p.Annotations = map[string]string{"sluice.dev/min-age": "1s"} })
	w.chooses("app", "1.2.0")
	w.chooses("young", "1.2.0")
	w.annotate("young", "sluice.dev/min-age", "24h")
	w.redis.Stop()
	ready := w.poke("app")
	if is(ready, meta.ReadyCondition) != "True/Succeeded" || ready.Status.LatestRef.Tag != "1.2.0" {
		t.Errorf("without Redis the status is %+v", ready.Status)
	}
	w.create("new", nil)
	w.fails("new", imagev1.ReadOperationFailedReason)
	w.redis.Run() // empty: the policy asks for a scan
	w.chooses("new", "1.2.0")
	w.poke("young")
	w.chooses("young", "1.2.0")
	// What the bus held is in the status.
	w.registry.SetTags("org/app", "1.0.0", "1.1.0")
	w.server.Restart(true)
	w.scan("app")
	p := w.holds("app", "1.2.0", "TagVanished")
	if p.Status.ObservedPreviousRef != nil {
		t.Errorf("status is %+v", p.Status)
	}
	if c := w.chosen("app"); c.Tag != "1.2.0" || c.Held == "" {
		t.Errorf("record is %+v", c)
	}
}

func TestAVanishedTagHoldsANewerOne(t *testing.T) {
	w := newWorld(t, registrytest.Options{}, nil)
	w.registry.SetTags("org/app", "1.0.0", "1.1.0", "1.2.0", "1.3.0")
	w.repository("app", nil)
	w.create("app", nil)
	w.chooses("app", "1.3.0")
	w.registry.SetTags("org/app", "1.0.0", "1.1.0", "1.2.0", "1.4.0")
	w.scan("app")
	p := w.holds("app", "1.3.0", "TagVanished")
	w.warned("app", "TagVanished")
	// The message says how to go on.
	message := apimeta.FindStatusCondition(p.Status.Conditions, "Held").Message
	if !strings.Contains(message, "tag 1.3.0 is gone; 1.4.0 takes its place at ") {
		t.Error("message is", message)
	}
	_, ack, _ := strings.Cut(message, "sluice.dev/vanished-ack=")
	w.annotate("app", "sluice.dev/vanished-ack", ack)
	if p := w.chooses("app", "1.4.0"); is(p, "Held") != "" {
		t.Error("the hold stays after it was acknowledged")
	}
}

func TestAVanishedTagHoldsNotForEver(t *testing.T) {
	w := newWorld(t, registrytest.Options{}, nil, func(c *Config) { c.VanishedHold = 3 * time.Second })
	w.registry.SetTags("org/app", "1.0.0", "1.1.0", "1.2.0", "1.3.0")
	w.repository("app", nil)
	w.create("app", nil)
	w.chooses("app", "1.3.0")
	w.registry.SetTags("org/app", "1.0.0", "1.1.0", "1.2.0", "1.4.0")
	w.scan("app")
	w.holds("app", "1.3.0", "TagVanished")
	if p := w.chooses("app", "1.4.0"); is(p, "Held") != "" {
		t.Error("the hold stays")
	}
}

func TestListingsThatShrink(t *testing.T) {
	w := newWorld(t, registrytest.Options{}, nil, func(c *Config) { c.VanishedHold = 0 })
	w.registry.SetTags("org/app", "1.0.0", "1.1.0", "1.2.0", "1.3.0")
	w.repository("app", nil)
	w.create("app", nil)
	w.chooses("app", "1.3.0")
	// One tag of four goes, which the policy chose.
	w.registry.SetTags("org/app", "1.0.0", "1.1.0", "1.2.0")
	w.scan("app")
	w.holds("app", "1.3.0", "TagVanished")
	if c := w.chosen("app"); c.Tag != "1.3.0" || c.HeldReason != "TagVanished" {
		t.Errorf("record is %+v", c)
	}
	w.warned("app", "TagVanished")
	// A newer one ends the hold.
	w.registry.SetTags("org/app", "1.0.0", "1.1.0", "1.2.0", "1.4.0")
	w.scan("app")
	if p := w.chooses("app", "1.4.0"); is(p, "Held") != "" {
		t.Error("the hold stays")
	}
	// More than a third goes: even a newer one waits.
	w.registry.SetTags("org/app", "1.0.0", "1.5.0")
	w.scan("app")
	p := w.holds("app", "1.4.0", "ListingShrunk")
	w.warned("app", "ListingShrunk")
	if w.chosen("app").HeldReason != "ListingShrunk" {
		t.Errorf("record is %+v", w.chosen("app"))
	}
	// Whoever has a first choice to make makes it, and must not act on it.
	w.create("first", nil)
	w.holds("first", "1.5.0", "ListingShrunk")
	// The message says how to go on.
	_, ack, _ := strings.Cut(apimeta.FindStatusCondition(p.Status.Conditions, "Held").Message, "sluice.dev/vanished-ack=")
	w.annotate("app", "sluice.dev/vanished-ack", ack)
	if p := w.chooses("app", "1.5.0"); is(p, "Held") != "" {
		t.Error("the hold stays after it was acknowledged")
	}
	// Everything is gone.
	w.registry.SetTags("org/app")
	w.scan("app")
	w.holds("app", "1.5.0", "ListingShrunk")
}

func TestListingThatIsNotComplete(t *testing.T) {
	w := newWorld(t, registrytest.Options{}, nil)
	w.registry.SetTags("org/app", "1.0.0")
	w.repository("app", nil)
	w.create("app", nil)
	w.chooses("app", "1.0.0")
	repo := &imagev1.ImageRepository{}
	w.do(w.cluster.Client.Get(t.Context(), w.key("app"), repo))
	metav1.SetMetaDataAnnotation(&repo.ObjectMeta, "incomplete", "yes")
	w.do(w.cluster.Client.Update(t.Context(), repo))
	w.registry.SetTags("org/app", "1.0.0", "1.1.0")
	w.scan("app")
	w.holds("app", "1.0.0", "ListingIncomplete")
}

// warned returns when an Event of type Warning was written about a policy.
func (w *world) warned(name, reason string) {
	w.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var events corev1.EventList
		w.do(w.cluster.Client.List(w.Context(), &events, client.InNamespace(w.ns)))
		for _, e := range events.Items {
			if e.InvolvedObject.Name == name && e.Reason == reason && e.Type == corev1.EventTypeWarning {
				return
			}
		}
	}
	w.Fatalf("no Event says that %s has %s", name, reason)
}

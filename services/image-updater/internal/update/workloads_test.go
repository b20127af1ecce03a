package update

import (
	"fmt"
	"strings"
	"testing"
	"time"

	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/libs/gittest"
	"github.com/sluice-cd/sluice/libs/imageaccess"
	"github.com/sluice-cd/sluice/libs/imagecache"
	"github.com/sluice-cd/sluice/libs/imagecache/imagecachetest"
	"github.com/sluice-cd/sluice/libs/registry"
	"github.com/sluice-cd/sluice/libs/registry/registrytest"
	"github.com/sluice-cd/sluice/services/image-updater/internal/edit"
)

// withImages gives the stage a cache and a client of registries.
func (w *world) withImages() func(*Config) {
	w.Helper()
	server, options, err := imagecache.StartEmbeddedIn(w.TempDir())
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(server.Stop)
	return func(c *Config) {
		c.Cache = imagecachetest.Connect(w.TB, options)
		if c.Registries, err = registry.New(registry.Options{Budget: c.Cache.NewBudget(imagecache.Rate{Burst: 100})}); err != nil {
			w.Fatal(err)
		}
		c.Images = imageaccess.DefaultRules()
		if c.Access, err = imageaccess.New(c.Env.Cluster, false); err != nil {
			w.Fatal(err)
		}
	}
}

func workloads(a *automationv1.ImageUpdateAutomation) {
	a.Annotations = map[string]string{strategyAnnotation: strategyWorkloads}
}

const annotated = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: NS
  annotations:
    fluxcd.io/automated: "true"
    fluxcd.io/tag.web: semver:~1
    LOCK
spec:
  template:
    spec:
      imagePullSecrets:
      - name: pull
      containers:
      - name: web
        image: HOST/org/web:1.0.0
      - name: side
        image: 'HOST/org/side:a' # newest
`

func TestAnnotatedWorkloads(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Options{})
	images := registrytest.Start(t, registrytest.Options{Username: "jane", Password: "x"})
	for i, tag := range []string{"1.0.0", "1.2.0", "2.0.0"} {
		images.Push(t, "org/web", tag, registrytest.Image{Created: time.Unix(int64(1000+i), 0)})
	}
	for i, tag := range []string{"z", "a", "k", "sha256-" + strings.Repeat("0", 64) + ".sig"} { // k is the newest but for its signature
		images.Push(t, "org/side", tag, registrytest.Image{Created: time.Unix(int64(1000+i), 0)})
	}
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "pull"}, Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{
		corev1.DockerConfigJsonKey: fmt.Appendf(nil, `{"auths":{%q:{"username":"jane","password":"x"}}}`, images.Host()),
	}})
	manifest := strings.ReplaceAll(annotated, "HOST", images.Host())
	w.commit("first", map[string]string{"web.yaml": strings.ReplaceAll(manifest, "    LOCK\n", "")})
	w.start(w.withImages())
	w.source()
	w.automation(workloads)
	w.until("both images", func() bool {
		f := w.file("web.yaml")
		return strings.Contains(f, "org/web:1.2.0\n") && strings.Contains(f, "'"+images.Host()+"/org/side:k' # newest")
	})
	if got := w.gitOut("rev-list", "--count", "main"); got != "2" {
		t.Errorf("%s commits; want 2", got)
	}

	// Somebody sets one back; the other stays free.
	w.commit("back", map[string]string{"web.yaml": strings.ReplaceAll(strings.ReplaceAll(manifest, "    LOCK\n", ""), "side:a", "side:k")})
	w.request()
	if !strings.Contains(w.file("web.yaml"), "org/web:1.0.0") || w.condition(heldCondition).Reason != reasonRolledBack {
		t.Errorf("a version that was set back was written again, or is not told: %+v", w.condition(heldCondition))
	}
	images.Push(t, "org/web", "1.3.0", registrytest.Image{Created: time.Unix(2000, 0)})
	w.request()
	w.until("a newer version", func() bool { return strings.Contains(w.file("web.yaml"), "org/web:1.3.0") })

	// A lock holds.
	locked := strings.ReplaceAll(manifest, "LOCK", `fluxcd.io/locked: "true"`)
	w.commit("lock", map[string]string{"web.yaml": strings.ReplaceAll(locked, "side:a", "side:k")})
	w.request()
	if w.condition(heldCondition).Reason != reasonLocked || !strings.Contains(w.file("web.yaml"), "org/web:1.0.0") {
		t.Errorf("Held is %+v; want it locked", w.condition(heldCondition))
	}

	// So does a hold, until it is over.
	over := time.Now().Add(4 * time.Second).UTC().Truncate(time.Second)
	kept := strings.ReplaceAll(manifest, "LOCK", holdAnnotation+": freeze\n    "+holdUntilAnnotation+": \""+over.Format(time.RFC3339)+"\"")
	w.commit("hold", map[string]string{"web.yaml": strings.ReplaceAll(strings.ReplaceAll(kept, "side:a", "side:k"), "web:1.0.0", "web:1.1.0")})
	w.request()
	if c := w.condition(heldCondition); c.Reason != reasonOnHold || !strings.Contains(c.Message, "freeze") || !strings.Contains(w.file("web.yaml"), "org/web:1.1.0") {
		t.Errorf("Held is %+v; want it on hold", c)
	}
	w.until("the hold is over", func() bool { return w.condition(heldCondition).Reason != reasonOnHold && time.Now().After(over) })
}

// TestAFileThatCannotBeEditedIsToldAlone: an alias makes one image that of two containers, which is two values for one place.
func TestAFileThatCannotBeEditedIsToldAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Options{})
	images := registrytest.Start(t, registrytest.Options{})
	images.Push(t, "org/web", "1.0.0", registrytest.Image{Created: time.Unix(1000, 0)})
	images.Push(t, "org/web", "1.2.0", registrytest.Image{Created: time.Unix(2000, 0)})
	manifest := strings.ReplaceAll(strings.ReplaceAll(annotated, "    LOCK\n", ""), "HOST", images.Host())
	manifest, _, _ = strings.Cut(manifest, "      - name: side")
	w.commit("first", map[string]string{
		"a.yaml":   strings.ReplaceAll(manifest, "- name: web", "- &c\n        name: web") + "      - *c\n",
		"web.yaml": manifest,
	})
	w.start(w.withImages())
	w.source()
	w.automation(workloads)
	w.until("the sound file is updated", func() bool { return strings.Contains(w.file("web.yaml"), "org/web:1.2.0") })
	w.until("the other is told", func() bool {
		c := w.condition(meta.ReadyCondition)
		return c.Reason == string(edit.InvalidValue) && strings.Contains(c.Message, "a.yaml")
	})
}

// TestPinsStay: who writes a digest gets one, that of the tag beside it.
func TestPinsStay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Options{})
	images := registrytest.Start(t, registrytest.Options{})
	digests := map[string]string{}
	for i, tag := range []string{"1.0.0", "1.2.0", "2.0.0"} {
		digests[tag] = images.Push(t, "org/web", tag, registrytest.Image{Created: time.Unix(int64(1000+i), 0)})
	}
	image := images.Host() + "/org/web"
	manifest := strings.ReplaceAll(strings.ReplaceAll(annotated, "    LOCK\n", "    fluxcd.io/tag.side: semver:~1\n"), "HOST/org/side:a", "HOST/org/web@"+digests["1.0.0"])
	manifest = strings.ReplaceAll(manifest, "HOST/org/web:1.0.0", "HOST/org/web:1.0.0@"+digests["1.0.0"])
	manifest += "      - name: same\n        image: HOST/org/web:2.0.0@" + digests["1.0.0"] + "\n"
	w.commit("first", map[string]string{"web.yaml": strings.ReplaceAll(manifest, "HOST", images.Host())})
	w.start(w.withImages())
	w.source()
	w.automation(workloads)
	w.until("the digest of another tag", func() bool { return strings.Contains(w.file("web.yaml"), image+":1.2.0@"+digests["1.2.0"]+"\n") })
	if f := w.file("web.yaml"); !strings.Contains(f, image+"@"+digests["1.0.0"]) || !strings.Contains(f, image+":2.0.0@"+digests["1.0.0"]) {
		t.Errorf("a pin is gone:\n%s", f)
	}
	w.until("a hold", func() bool { return w.condition(heldCondition).Reason == reasonPinned })
	if got := w.gitOut("rev-list", "--count", "main"); got != "2" {
		t.Errorf("%s commits; want 2", got)
	}
}

// TestRulesHoldForWorkloads: what the installation says about images holds for those that workloads name, too.
func TestRulesHoldForWorkloads(t *testing.T) {
	t.Parallel()
	images := registrytest.Start(t, registrytest.Options{})
	for i, tag := range []string{"1.0.0", "1.2.0", "2.0.0"} {
		images.Push(t, "org/web", tag, registrytest.Image{Created: time.Unix(int64(1000+i), 0)})
		images.Push(t, "org/side", tag, registrytest.Image{Created: time.Unix(int64(1000+i), 0)})
	}
	for name, c := range map[string]struct {
		rules       imageaccess.Rules
		insecure    string
		held, ready string
		webStays    bool
	}{
		"excluded": {rules: imageaccess.Rules{MaxTags: 10, Exclude: []string{"*/org/side"}}, held: reasonExcluded, ready: meta.SucceededReason},
		"max tags": {rules: imageaccess.Rules{MaxTags: 2}, held: "TagsVanished", ready: meta.SucceededReason, webStays: true},
		"insecure": {rules: imageaccess.Rules{MaxTags: 10}, insecure: "127.0.0.1:*", ready: meta.InsecureConnectionsDisallowedReason, webStays: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, gittest.Options{})
			text := strings.ReplaceAll(strings.ReplaceAll(annotated, "    LOCK\n", ""), "HOST", images.Host())
			w.commit("first", map[string]string{"web.yaml": strings.ReplaceAll(text, "side:a", "side:1.0.0")})
			w.start(w.withImages(), func(conf *Config) { conf.Images = c.rules })
			w.source()
			w.automation(func(a *automationv1.ImageUpdateAutomation) {
				workloads(a)
				a.Annotations[insecureAnnotation] = c.insecure
			})
			w.until("the reasons", func() bool {
				return w.condition(heldCondition).Reason == c.held && w.condition(meta.ReadyCondition).Reason == c.ready
			})
			if got := w.file("web.yaml"); strings.Contains(got, "org/web:1.0.0") != c.webStays || !strings.Contains(got, "org/side:1.0.0") {
				t.Errorf("file is\n%s", got)
			}
		})
	}
}

// TestUnknownAgeIsHeld: what is there may be newer than what would be written, unless somebody says that it does not matter.
func TestUnknownAgeIsHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Options{})
	images := registrytest.Start(t, registrytest.Options{})
	images.Push(t, "org/web", "1.0.0", registrytest.Image{Created: time.Unix(1000, 0)})
	images.Push(t, "org/side", "k", registrytest.Image{Created: time.Unix(1000, 0)})
	manifest := strings.ReplaceAll(annotated, "HOST", images.Host())
	w.commit("first", map[string]string{"web.yaml": strings.ReplaceAll(manifest, "    LOCK\n", "")})
	w.start(w.withImages())
	w.source()
	w.automation(workloads)
	w.until("a hold", func() bool { return w.condition(heldCondition).Reason == reasonUnknownAge })
	if !strings.Contains(w.file("web.yaml"), "side:a") {
		t.Error("written all the same")
	}
	w.commit("lower", map[string]string{"web.yaml": strings.ReplaceAll(manifest, "LOCK", downgradeAnnotation+`: "true"`)})
	w.request()
	w.until("what was asked for", func() bool { return strings.Contains(w.file("web.yaml"), "side:k") })
}

func TestFaultsOfImagesAreTold(t *testing.T) {
	t.Parallel()
	images := registrytest.Start(t, registrytest.Options{Username: "jane", Password: "x"})
	open := registrytest.Start(t, registrytest.Options{})
	for name, c := range map[string]struct{ host, filter, reason string }{
		"wrong password": {images.Host(), "semver:~1", "AuthenticationFailed"},
		"unknown image":  {open.Host(), "semver:~1", "UnknownImage"},
		"bad range":      {open.Host(), "semver:~x.y.z!", "InvalidFilter"},
		"bad regex":      {open.Host(), "regex:(", "InvalidFilter"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, gittest.Options{})
			text := strings.ReplaceAll(strings.ReplaceAll(annotated, "    LOCK\n", ""), "HOST", c.host)
			w.commit("first", map[string]string{"web.yaml": strings.ReplaceAll(text, "semver:~1", c.filter)})
			w.start(w.withImages())
			w.source()
			w.automation(workloads)
			w.until("the reason "+c.reason, func() bool { return w.condition(meta.ReadyCondition).Reason == c.reason })
			w.until("an Event with it", func() bool { return w.told(c.reason) > 0 })
		})
	}
}

package handler

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/controlplane"
	"github.com/sluice-cd/sluice/libs/controlplane/controlplanetest"
	"github.com/sluice-cd/sluice/libs/kube"
)

// abroad is another cluster that a test has for itself.
type abroad struct {
	*world
	plane  *controlplane.ControlPlane
	client client.Client
}

func (w *world) abroad(t *testing.T) *abroad {
	t.Helper()
	plane := controlplanetest.ForTest(t, controlplane.Options{})
	if plane.Given() {
		t.Skip("needs a second cluster")
	}
	c, err := client.New(plane.RESTConfig(), client.Options{Scheme: kube.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}); err != nil {
		t.Fatal(err)
	}
	return &abroad{w, plane, c}
}

// value is that of a ConfigMap over there; empty when there is none.
func (a *abroad) value(name string) string {
	cm := &corev1.ConfigMap{}
	if a.client.Get(a.Context(), a.key(name), cm) != nil {
		return ""
	}
	return cm.Data["key"]
}

// edit changes a ConfigMap by hand and waits until that is repaired.
func (a *abroad) edit(name, good string) time.Duration {
	a.Helper()
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: name}}
	a.until("it can be edited", func() bool {
		return a.client.Patch(a.Context(), cm, client.RawPatch("application/merge-patch+json", []byte(`{"data":{"key":"bad"}}`)), client.FieldOwner("kubectl-edit")) == nil
	})
	return a.until("the edit is repaired", func() bool { return a.value(name) == good })
}

func kubeconfigOf(t *testing.T, c *controlplane.ControlPlane) string {
	t.Helper()
	content, err := os.ReadFile(c.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// watchedSecret makes or changes a Secret that asks to be watched.
func (w *world) watchedSecret(name, value string) {
	w.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name, Labels: map[string]string{"reconcile.fluxcd.io/watch": "Enabled"}}}
	s.Data = map[string][]byte{"value": []byte(value)}
	err := w.client.Create(w.Context(), s.DeepCopy())
	if err != nil {
		err = w.client.Update(w.Context(), s)
	}
	if err != nil {
		w.Fatal(err)
	}
}

func inNoHurry(k *kustomizev1.Kustomization) {
	k.Spec.RetryInterval = &metav1.Duration{Duration: time.Hour}
}

func TestOtherClusterIsWatched(t *testing.T) {
	w := newWorld(t)
	other := w.abroad(t)
	w.create("app", inCluster("there"), inNoHurry)
	w.create("home")
	w.push("home", "main@sha1:1", configMap("h", "good"))
	w.push("app", "main@sha1:1", configMap("a", "good")+configMap("b", "good"))
	w.untilMessage("app", "not found")
	w.watchedSecret("there", kubeconfigOf(t, other.plane)) // its label wakes
	w.untilReady("app", "main@sha1:1", metav1.ConditionTrue)
	w.untilWatched("app")
	for range 3 {
		t.Logf("edit repaired after %s", other.edit("a", "good"))
		w.untilWatched("app")
	}
	if w.configMap("a") != nil {
		t.Error("it was applied at home")
	}

	// Away: the own cluster goes on as before, and nothing is taken for current that cannot be seen.
	if err := other.plane.StopAPIServer(); err != nil {
		t.Fatal(err)
	}
	w.until("it is known that nothing is seen", func() bool {
		known, k := w.known("app"), w.get("app")
		objects, _ := (&job{k: k}).oldInventory()
		return w.applier.standing(w.key("app"), objects, &known).unknown == objects.Len()
	})
	w.untilWatched("home")
	w.patch(w.configMap("h"), `{"data":{"key":"bad"}}`)
	if took := w.until("the edit at home is repaired", func() bool { return w.configMap("h").Data["key"] == "good" }); took > 2*time.Second {
		t.Errorf("repair at home took %s", took)
	}
	if err := other.plane.StartAPIServer(context.Background()); err != nil {
		t.Fatal(err)
	}
	w.patience(time.Minute, "the watch is back", func() bool {
		known, k := w.known("app"), w.get("app")
		objects, _ := (&job{k: k}).oldInventory()
		d := w.applier.standing(w.key("app"), objects, &known)
		return d.unknown == 0 && len(d.drifted) == 0
	})
	t.Logf("edit repaired after %s", other.edit("a", "good"))

	// Nobody names it any more.
	if err := w.client.Delete(t.Context(), w.get("app")); err != nil {
		t.Fatal(err)
	}
	w.until("pruned over there", func() bool { return other.value("a") == "" })
	w.until("nothing is watched there", func() bool { return w.applier.watchers.others.Len() == 0 })
}

func TestRotatedKubeConfigIsFollowed(t *testing.T) {
	w := newWorld(t)
	other := w.abroad(t)
	there := kubeconfigOf(t, other.plane)
	w.watchedSecret("there", there)
	w.create("app", inCluster("there"), inNoHurry)
	w.push("app", "main@sha1:1", configMap("a", "good"))
	w.untilReady("app", "main@sha1:1", metav1.ConditionTrue)
	w.untilWatched("app")
	first := w.applier.watchers.of(w.key("app"), w.known("app").Cluster)

	// Other credentials for the same cluster: what is known of its objects holds.
	w.watchedSecret("there", there+"# written anew\n")
	w.until("it is watched with the new ones", func() bool {
		now := w.applier.watchers.of(w.key("app"), w.known("app").Cluster)
		return now != nil && now != first
	})
	w.untilWatched("app")
	other.edit("a", "good")

	// Credentials that are good for nothing are told without any interval.
	w.watchedSecret("there", strings.Replace(there, "token: ", "token: wrong", 1))
	w.untilMessage("app", "provide credentials")

	// Another cluster, which is this one.
	w.watchedSecret("there", kubeconfigOf(t, cluster))
	w.untilReady("app", "main@sha1:1", metav1.ConditionTrue)
	w.until("it is in the other cluster", func() bool { return w.configMap("a") != nil })
	w.untilWatched("app")
	if n := w.applier.watchers.others.Len(); n != 1 {
		t.Errorf("%d places are watched", n)
	}
}

func TestHealthInOtherClusterIsWatched(t *testing.T) {
	w := newWorld(t)
	w.secret("other", "value", kubeconfigOf(t, cluster))
	w.create("app", inCluster("other"), waiting(time.Minute))
	w.push("app", "main@sha1:1", deployment("web"))
	w.untilReady("app", "main@sha1:1", metav1.ConditionUnknown)
	w.until("its health is seen", func() bool {
		known := w.known("app")
		watcher := w.applier.watchers.of(w.key("app"), known.Cluster)
		objects, _ := (&job{k: w.get("app")}).oldInventory()
		for id := range objects.All() {
			seen, _ := known.Objects.Get(id)
			if watcher == nil {
				return false
			}
			if _, ok := watcher.Health(w.key("app"), id, seen.Version); !ok {
				return false
			}
		}
		return objects.Len() > 0
	})
	w.makeHealthy("web")
	started := time.Now()
	k := w.untilReady("app", "main@sha1:1", metav1.ConditionTrue)
	if took := time.Since(started); took > 2*time.Second {
		t.Errorf("from healthy object to ready: %s", took)
	}
	if h := condition(k, meta.HealthyCondition); h.Status != metav1.ConditionTrue {
		t.Errorf("Healthy = %+v", h)
	}
}

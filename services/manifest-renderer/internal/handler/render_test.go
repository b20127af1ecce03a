package handler

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/decrypt/decrypttest"
)

const canary = "c4nary-pl4intext"

func (w *world) secret(name string, labels map[string]string, data map[string][]byte) *corev1.Secret {
	w.t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name, Labels: labels}, Data: data}
	w.create(s)
	return s
}

var watched = map[string]string{"reconcile.fluxcd.io/watch": "Enabled"}

// An encrypted Secret is decrypted with the keys of spec.decryption; when they change it is rendered again, without a commit. What was
// encrypted is in no message of the bus and in no state.
func TestDecryption(t *testing.T) {
	server := bustest.Start(t)
	w := newWorldOn(t, server)
	key, other := decrypttest.Age(t), decrypttest.Age(t)
	encrypted := decrypttest.Encrypt(t, "s.yaml", "apiVersion: v1\nkind: Secret\nmetadata:\n    name: s\n    namespace: a\nstringData:\n    p: "+canary+"\n", "^stringData$", key.Master)
	keys := w.secret("keys", watched, map[string][]byte{other.Entry: other.Private})
	w.kustomization("app", "app", func(s *kustomizev1.KustomizationSpec) {
		s.Decryption = &kustomizev1.Decryption{Provider: "sops", SecretRef: &meta.LocalObjectReference{Name: "keys"}}
	})
	traffic := collect(t, server)
	w.start()
	w.push(map[string]string{"app/s.yaml": encrypted})
	failed := w.await("app", func(r state.Rendered) bool { return r.Reason != "" && r.Told })
	if !strings.Contains(failed.Message, "no age identity of the Secret opens it") {
		t.Errorf("with another key: %s", failed.Message)
	}
	keys.Data = map[string][]byte{key.Entry: key.Private}
	w.check(w.cluster.Client.Update(context.Background(), keys))
	done := w.await("app", func(r state.Rendered) bool { return r.OK() && r.Set != "" && r.Told })
	if got := w.objects(done.Set); !strings.Contains(got, canary) {
		t.Errorf("rendered %s", got)
	}
	all := traffic()
	if !strings.Contains(all, "manifests-rendered") {
		t.Error("the traffic of the bus was not seen")
	}
	for _, secret := range []string{canary, base64.StdEncoding.EncodeToString([]byte(canary)), strings.Fields(string(key.Private))[5], "AGE-SECRET-KEY"} {
		if strings.Contains(all, secret) {
			t.Errorf("%.8s… is on the bus", secret)
		}
	}
}

func TestDecryptionFaults(t *testing.T) {
	w := newWorld(t)
	for name, d := range map[string]kustomizev1.Decryption{
		"gone":    {SecretRef: &meta.LocalObjectReference{Name: "none"}},
		"account": {ServiceAccountName: "a"},
		"broken":  {SecretRef: &meta.LocalObjectReference{Name: "broken"}},
	} {
		d.Provider = "sops"
		w.kustomization(name, "app", func(s *kustomizev1.KustomizationSpec) { s.Decryption = &d })
	}
	w.secret("broken", nil, map[string][]byte{"a.agekey": []byte(canary)})
	w.start()
	w.push(map[string]string{"app/a.yaml": configMap("a", "1")})
	for name, want := range map[string]string{"gone": "/none' not found", "account": "which this installation does not allow", "broken": "a.agekey: it holds no age identities"} {
		r := w.await(name, func(r state.Rendered) bool { return r.Reason != "" })
		if r.Reason != meta.BuildFailedReason || !strings.Contains(r.Message, want) || strings.Contains(r.Message, canary) {
			t.Errorf("%s: %s: %s", name, r.Reason, r.Message)
		}
	}
}

// The age keys of the installation serve those who name no Secret, and nobody else.
func TestAgeSecretOfTheInstallation(t *testing.T) {
	w := newWorld(t)
	key := decrypttest.Age(t)
	w.secret("global", nil, map[string][]byte{key.Entry: key.Private})
	w.handler.AgeSecret = w.key("global")
	w.secret("own", nil, map[string][]byte{"README": nil})
	w.kustomization("none", "", func(s *kustomizev1.KustomizationSpec) { s.Decryption = &kustomizev1.Decryption{Provider: "sops"} })
	w.kustomization("own", "", func(s *kustomizev1.KustomizationSpec) {
		s.Decryption = &kustomizev1.Decryption{Provider: "sops", SecretRef: &meta.LocalObjectReference{Name: "own"}}
	})
	w.start()
	w.push(map[string]string{"kustomization.yaml": "secretGenerator: [{name: g, envs: [e.env]}]\n", "e.env": decrypttest.Encrypt(t, "e.env", "A=b\n", "", key.Master)})
	if r := w.await("none", func(r state.Rendered) bool { return r.Told }); !r.OK() {
		t.Error(r.Message)
	}
	if r := w.await("own", func(r state.Rendered) bool { return r.Told }); r.OK() {
		t.Error("decrypted with keys that were not its own")
	}
}

// A changed ConfigMap with Flux's label wakes those who read it, and one without does not until they are asked to run.
func TestVariablesWake(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	variables := func(name string, labels map[string]string) *corev1.ConfigMap {
		m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name, Labels: labels}, Data: map[string]string{"v": "one"}}
		w.create(m)
		w.kustomization(name, "", func(s *kustomizev1.KustomizationSpec) {
			s.PostBuild = &kustomizev1.PostBuild{SubstituteFrom: []kustomizev1.SubstituteReference{{Kind: "ConfigMap", Name: name}}}
		})
		return m
	}
	labelled, quiet := variables("labelled", watched), variables("quiet", nil)
	w.start()
	revision := w.push(map[string]string{"a.yaml": configMap("a", "${v}")})
	quietly, first := w.await("quiet", at(revision)), w.await("labelled", at(revision))
	for _, m := range []*corev1.ConfigMap{quiet, labelled} {
		m.Data["v"] = "two"
		w.check(w.cluster.Client.Update(ctx, m))
	}
	changed := w.await("labelled", func(r state.Rendered) bool { return r.Set != first.Set && r.Told })
	if got := w.objects(changed.Set); !strings.Contains(got, `"v":"two"`) {
		t.Errorf("rendered %s", got)
	}
	if r := w.await("quiet", at(revision)); r.Set != quietly.Set {
		t.Error("a ConfigMap without the label woke its reader")
	}
	w.request("quiet")
	w.await("quiet", func(r state.Rendered) bool { return r.Set != quietly.Set })
	w.check(w.cluster.Client.Delete(ctx, labelled))
	gone := w.await("labelled", func(r state.Rendered) bool { return !r.OK() })
	if !strings.Contains(gone.Message, "not found") || gone.Set != changed.Set {
		t.Errorf("without the ConfigMap: %+v", gone)
	}
}

// What failed is not built again as long as what it read is the same, and is as soon as that changes.
func TestFailuresAreRemembered(t *testing.T) {
	w := newWorld(t)
	w.kustomization("app", "app", nil)
	w.start()
	broken := map[string]string{"app/kustomization.yaml": "resources: [gone.yaml]\n", "README": "1"}
	first := w.push(broken)
	failed := w.await("app", at(first))
	if failed.OK() || failed.FailedReadSet == "" || !strings.Contains(failed.Message, "gone.yaml") {
		t.Fatalf("got %+v", failed)
	}
	builds := w.builds()
	runs := w.runsOf("app")
	w.request("app")
	w.awaitRun("app", runs)
	broken["README"] = "2"
	second := w.push(broken, "README")
	again := w.await("app", at(second))
	if again.Message != failed.Message || again.Reason != failed.Reason || again.FailedReadSet != failed.FailedReadSet {
		t.Errorf("got %+v, want the failure of before", again)
	}
	if n := builds(); n != 0 {
		t.Errorf("%d builds of what is known to fail", n)
	}
	broken["app/gone.yaml"] = configMap("a", "1")
	if r := w.await("app", at(w.push(broken, "app/gone.yaml"))); !r.OK() || r.FailedReadSet != "" || r.Objects != 1 {
		t.Errorf("mended: %+v", r)
	}
	if n := builds(); n != 1 {
		t.Errorf("%d builds, want 1", n)
	}
}

// A set that is gone from the bus is rendered again, and one whose sources did not change is not.
func TestUnchangedIsNotBuilt(t *testing.T) {
	w := newWorld(t)
	w.kustomization("app", "app", nil)
	w.start()
	files := map[string]string{"app/a.yaml": configMap("a", "1"), "README": "1"}
	before := w.await("app", at(w.push(files)))
	builds := w.builds()
	files["README"] = "2"
	after := w.await("app", at(w.push(files, "README")))
	if n := builds(); n != 0 || after.Set != before.Set || after.ReadSet != before.ReadSet {
		t.Errorf("%d builds for a commit that touches nothing: %+v", n, after)
	}
	files["app/a.yaml"] = configMap("a", "2")
	if r := w.await("app", at(w.push(files, "app/a.yaml"))); r.Set == before.Set || builds() != 1 {
		t.Errorf("a change: %+v", r)
	}
}

package handler

import (
	"os"
	"strings"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/apis/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func inCluster(secret string) func(*kustomizev1.Kustomization) {
	return func(k *kustomizev1.Kustomization) {
		k.Spec.KubeConfig = &meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: secret}}
		k.Spec.RetryInterval = &metav1.Duration{Duration: time.Second}
	}
}

func TestKubeConfig(t *testing.T) {
	w := newWorld(t)
	config, err := os.ReadFile(cluster.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	w.create("app", inCluster("other"), waiting(time.Minute))
	w.push("app", "main@sha1:1", configMap("a", "1")+deployment("web"))
	k := w.untilReady("app", "main@sha1:1", metav1.ConditionFalse)
	if m := condition(k, meta.ReadyCondition).Message; !strings.Contains(m, "not found") {
		t.Errorf("message %q", m)
	}
	w.secret("other", "value", string(config))
	w.stage.Trigger(t.Context(), w.key("app"), hint)
	w.untilReady("app", "main@sha1:1", metav1.ConditionUnknown)
	w.makeHealthy("web")
	w.untilReady("app", "main@sha1:1", metav1.ConditionTrue) // no watch tells: it is asked for
	if err := w.client.Delete(t.Context(), w.get("app")); err != nil {
		t.Fatal(err)
	}
	w.until("pruned", func() bool { return w.configMap("a") == nil })
}

func TestServiceAccountIsImpersonated(t *testing.T) {
	w := newWorld(t, func(a *Applier) { a.DefaultAccount = "default" })
	w.create("other", func(k *kustomizev1.Kustomization) { k.Spec.ServiceAccountName = "deployer" })
	w.create("app")
	for _, app := range []string{"app", "other"} {
		w.push(app, "main@sha1:1", configMap(app, "1"))
		k := w.untilReady(app, "main@sha1:1", metav1.ConditionFalse)
		account := map[string]string{"app": "default", "other": "deployer"}[app]
		if m := condition(k, meta.ReadyCondition).Message; !strings.Contains(m, "system:serviceaccount:"+w.namespace+":"+account) {
			t.Errorf("message %q", m)
		}
	}
	for _, u := range w.parse(`
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: deploy, namespace: NS}, rules: [{apiGroups: [""], resources: [configmaps], verbs: ["*"]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: deploy, namespace: NS},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: deploy}, subjects: [{kind: ServiceAccount, name: deployer, namespace: NS}]}
`) {
		if err := w.client.Create(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	w.untilReady("other", "main@sha1:1", metav1.ConditionTrue)
	if condition(w.get("app"), meta.ReadyCondition).Status != metav1.ConditionFalse {
		t.Error("the default account got the rights of another")
	}
	// There is no account "deployer", only rights for that name: with nobody to delete as, the objects stay.
	if err := w.client.Delete(t.Context(), w.get("other")); err != nil {
		t.Fatal(err)
	}
	w.until("the kustomization is gone", func() bool {
		return w.client.Get(t.Context(), w.key("other"), &kustomizev1.Kustomization{}) != nil
	})
	if w.configMap("other") == nil {
		t.Error("the objects were deleted as somebody else")
	}
}

func TestIgnoredFieldsAreLeftToOthers(t *testing.T) {
	w := newWorld(t)
	withReplicas := func(image string) string {
		return strings.ReplaceAll(strings.Replace(deployment("web"), "spec: {selector", "spec: {replicas: 3, selector", 1), "image: web", "image: "+image)
	}
	w.create("app", func(k *kustomizev1.Kustomization) {
		k.Spec.Ignore = []kustomizev1.IgnoreRule{
			{Paths: []string{"/spec/replicas", "/spec/template/spec/containers/0/resources"}, Target: &kustomize.Selector{Kind: "Deployment", Name: "w.*"}},
			{Paths: []string{"/data/key"}, Target: &kustomize.Selector{Kind: "ConfigMap", Name: "other"}},
		}
	})
	w.push("app", "main@sha1:1", configMap("a", "1")+withReplicas("one"))
	w.untilReady("app", "main@sha1:1", metav1.ConditionTrue)
	w.untilWatched("app")
	if r := *w.deployment("web").Spec.Replicas; r != 3 {
		t.Errorf("created with %d replicas, not as Git says", r)
	}
	before := w.runs("app")
	w.patch(w.deployment("web"), `{"spec":{"replicas":7}}`)
	time.Sleep(600 * time.Millisecond) // four times as long as the watch waits before it looks
	if w.runs("app") != before {
		t.Error("a change of an ignored field caused a run")
	}
	w.push("app", "main@sha1:2", configMap("a", "1")+withReplicas("two"))
	w.untilReady("app", "main@sha1:2", metav1.ConditionTrue)
	d := w.deployment("web")
	if *d.Spec.Replicas != 7 || d.Spec.Template.Spec.Containers[0].Image != "two" {
		t.Errorf("replicas %d, image %s", *d.Spec.Replicas, d.Spec.Template.Spec.Containers[0].Image)
	}
	// What no rule names is repaired, and what one names stays also then.
	w.patch(w.deployment("web"), `{"spec":{"replicas":9,"minReadySeconds":1,"template":{"metadata":{"labels":{"app":"web","more":"x"}}}}}`)
	w.patch(w.configMap("a"), `{"data":{"key":"bad"}}`)
	w.until("the edit is repaired", func() bool { return w.configMap("a").Data["key"] == "1" })
	if r := *w.deployment("web").Spec.Replicas; r != 9 {
		t.Errorf("%d replicas", r)
	}
}

func TestWrongIgnoreRuleIsReported(t *testing.T) {
	w := newWorld(t)
	w.create("app", func(k *kustomizev1.Kustomization) {
		k.Spec.Ignore = []kustomizev1.IgnoreRule{{Paths: []string{"spec.replicas"}}}
	})
	w.push("app", "main@sha1:1", configMap("a", "1"))
	k := w.untilReady("app", "main@sha1:1", metav1.ConditionFalse)
	if m := condition(k, meta.ReadyCondition).Message; !strings.Contains(m, "JSON pointer") {
		t.Errorf("message %q", m)
	}
}

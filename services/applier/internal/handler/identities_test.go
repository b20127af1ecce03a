package handler

import (
	"os"
	"strings"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sluice-cd/sluice/services/applier/internal/remote"
)

func byIdentity(k *kustomizev1.Kustomization) {
	k.Spec.KubeConfig = &meta.KubeConfigReference{ConfigMapRef: &meta.LocalObjectReference{Name: "identity"}}
	k.Spec.RetryInterval = &metav1.Duration{Duration: time.Second}
}

// withIdentities lets Kustomizations act as service accounts.
func withIdentities(t *testing.T, others bool) func(*Applier) {
	return func(a *Applier) {
		var err error
		if a.Identities, err = remote.NewIdentities(a.Cluster.Client, others, ""); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) untilMessage(app, want string) {
	w.Helper()
	w.until("Ready says "+want, func() bool {
		c := condition(w.get(app), meta.ReadyCondition)
		return c.Status == metav1.ConditionFalse && strings.Contains(c.Message, want)
	})
}

// The API server that tests share is the other cluster, too: it trusts its own issuer.
func TestIdentityInAnotherCluster(t *testing.T) {
	w := newWorld(t, withIdentities(t, true))
	content, err := os.ReadFile(cluster.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(content)
	if err != nil {
		t.Fatal(err)
	}
	w.create("app", byIdentity)
	w.push("app", "main@sha1:1", configMap("a", "1"))
	w.untilMessage("app", "configmap '"+w.namespace+"/identity': not found")
	data := map[string]string{"provider": "unheard-of", "address": config.Host, "ca.crt": string(config.CAData)}
	identity := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "identity"}, Data: data}
	if err := w.client.Create(t.Context(), identity); err != nil {
		t.Fatal(err)
	}
	change := func(key, value string) {
		t.Helper()
		identity.Data[key] = value
		if err := w.client.Update(t.Context(), identity); err != nil {
			t.Fatal(err)
		}
		w.stage.Trigger(t.Context(), w.key("app"), hint)
	}
	w.untilMessage("app", "is not one of aws, azure, gcp, generic")
	change("provider", "generic")
	change("audiences", "https://kubernetes.default.svc\n")
	w.untilMessage("app", "audiences need serviceAccountName")
	change("serviceAccountName", "visitor")
	w.untilMessage("app", "visitor")
	if err := w.client.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "visitor"}}); err != nil {
		t.Fatal(err)
	}
	w.stage.Trigger(t.Context(), w.key("app"), hint)
	w.untilMessage("app", `"system:serviceaccount:`+w.namespace+`:visitor" cannot`)
	for _, u := range w.parse(`
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: deploy, namespace: NS}, rules: [{apiGroups: [""], resources: [configmaps], verbs: ["*"]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: deploy, namespace: NS},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: deploy}, subjects: [{kind: ServiceAccount, name: visitor, namespace: NS}]}
`) {
		if err := w.client.Create(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	w.untilReady("app", "main@sha1:1", metav1.ConditionTrue)
	if w.configMap("a") == nil {
		t.Error("it is not there")
	}
}

func TestIdentitiesOfOthersAreASetting(t *testing.T) {
	w := newWorld(t, withIdentities(t, false))
	identity := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "identity"}, Data: map[string]string{
		"provider": "generic", "address": "https://192.0.2.1", "serviceAccountName": "default",
	}}
	if err := w.client.Create(t.Context(), identity); err != nil {
		t.Fatal(err)
	}
	w.create("app", byIdentity)
	w.push("app", "main@sha1:1", configMap("a", "1"))
	w.untilMessage("app", "does not allow")
}

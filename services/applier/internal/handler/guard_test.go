package handler

import (
	"fmt"
	"strings"
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func configMaps(from, to int) string {
	var docs strings.Builder
	for i := from; i < to; i++ {
		docs.WriteString(configMap(fmt.Sprintf("cm-%02d", i), "1"))
	}
	return docs.String()
}

func (w *world) annotate(name, key, value string) {
	w.Helper()
	w.patch(w.get(name), fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, key, value))
}

// acknowledge does what the message says.
func (w *world) acknowledge(name string) {
	w.Helper()
	message := condition(w.get(name), meta.ReadyCondition).Message
	_, ack, found := strings.Cut(message, AnnotationPruneAck+"=")
	if !found {
		w.Fatalf("message names no acknowledgement: %s", message)
	}
	ack, _, _ = strings.Cut(ack, "\n")
	w.annotate(name, AnnotationPruneAck, ack)
}

func TestLargePruneWaitsForAcknowledgement(t *testing.T) {
	w := newWorld(t)
	w.create("app")
	w.push("app", "main@sha1:1", configMaps(0, 10))
	w.untilReady("app", "main@sha1:1", metav1.ConditionTrue)
	w.push("app", "main@sha1:2", configMaps(0, 7)+configMap("new", "1"))
	w.untilReady("app", "main@sha1:2", metav1.ConditionTrue) // 3 of 10 is not more than 30 %
	w.push("app", "main@sha1:3", configMaps(0, 10))
	w.untilReady("app", "main@sha1:3", metav1.ConditionTrue)

	w.push("app", "main@sha1:4", configMaps(0, 6)+configMap("new", "2"))
	k := w.untilReady("app", "main@sha1:4", metav1.ConditionFalse)
	ready := condition(k, meta.ReadyCondition)
	if ready.Reason != ReasonPruneHeld || !strings.Contains(ready.Message, "ConfigMap/"+w.namespace+"/cm-09") {
		t.Errorf("Ready = %+v", ready)
	}
	if w.configMap("new") == nil || w.configMap("cm-09") == nil {
		t.Error("the set was not applied, or the prune was not held")
	}
	if n := len(k.Status.Inventory.Entries); n != 11 {
		t.Errorf("%d objects in the inventory", n)
	}
	// Drift is repaired also while a prune waits.
	w.patch(w.configMap("cm-00"), `{"data":{"key":"bad"}}`)
	w.until("the edit is repaired", func() bool { return w.configMap("cm-00").Data["key"] == "1" })

	w.annotate("app", AnnotationPruneAck, "something-else")
	w.wake("app")
	if w.configMap("cm-09") == nil {
		t.Fatal("a wrong acknowledgement was taken")
	}
	w.acknowledge("app")
	w.untilReady("app", "main@sha1:4", metav1.ConditionTrue)
	if w.configMap("cm-09") != nil || w.configMap("cm-06") != nil {
		t.Error("the prune did not go on")
	}
}

func TestPruneOfEverythingAndOfPreciousThingsWaits(t *testing.T) {
	w := newWorld(t)
	w.create("empty")
	w.push("empty", "main@sha1:1", configMap("a", "1"))
	w.untilReady("empty", "main@sha1:1", metav1.ConditionTrue)
	w.push("empty", "main@sha1:2", "")
	if m := condition(w.untilReady("empty", "main@sha1:2", metav1.ConditionFalse), meta.ReadyCondition).Message; !strings.Contains(m, "empty") {
		t.Errorf("message %q", m)
	}
	// The file comes back: nothing is held any more.
	w.push("empty", "main@sha1:3", configMap("a", "1"))
	w.untilReady("empty", "main@sha1:3", metav1.ConditionTrue)

	claim := "---\n{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data, namespace: NS}, " +
		"spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}\n"
	w.create("claim")
	w.push("claim", "main@sha1:1", claim+configMap("b", "1"))
	w.untilReady("claim", "main@sha1:1", metav1.ConditionTrue)
	w.push("claim", "main@sha1:2", configMap("b", "1"))
	w.untilReady("claim", "main@sha1:2", metav1.ConditionFalse)
	pvc := &corev1.PersistentVolumeClaim{}
	if err := w.client.Get(t.Context(), w.key("data"), pvc); err != nil || pvc.DeletionTimestamp != nil {
		t.Fatalf("the claim is gone: %v", err)
	}
	w.annotate("claim", AnnotationPruneGuard, "disabled")
	w.untilReady("claim", "main@sha1:2", metav1.ConditionTrue)
}

func TestDeletionIsNotGuarded(t *testing.T) {
	w := newWorld(t)
	for _, policy := range []string{kustomizev1.DeletionPolicyDelete, kustomizev1.DeletionPolicyWaitForTermination, kustomizev1.DeletionPolicyOrphan, ""} {
		w.create("app", func(k *kustomizev1.Kustomization) { k.Spec.DeletionPolicy, k.Spec.Prune = policy, policy == "" })
		w.push("app", "main@sha1:1", configMaps(0, 10))
		w.untilReady("app", "main@sha1:1", metav1.ConditionTrue)
		held := policy == kustomizev1.DeletionPolicyWaitForTermination
		if held {
			w.patch(w.configMap("cm-00"), `{"metadata":{"finalizers":["test.sluice.dev/hold"]}}`)
		}
		if err := w.client.Delete(t.Context(), w.get("app")); err != nil {
			t.Fatal(err)
		}
		if held {
			w.until("objects are being deleted", func() bool { return w.configMap("cm-00").DeletionTimestamp != nil && w.configMap("cm-01") == nil })
			w.get("app") // still there
			w.patch(w.configMap("cm-00"), `{"metadata":{"finalizers":null}}`)
		}
		w.until("the kustomization is gone", func() bool {
			return w.client.Get(t.Context(), w.key("app"), &kustomizev1.Kustomization{}) != nil
		})
		if left := w.configMap("cm-00") != nil; left != (policy == kustomizev1.DeletionPolicyOrphan) {
			t.Errorf("policy %q: objects left: %t", policy, left)
		}
	}
}

package app

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"testing"

	receiverv1 "github.com/fluxcd/notification-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A Receiver gets the address that Flux would give it, says what is missing, and follows its Secret.
func TestStatus(t *testing.T) {
	w := newWorld(t)
	w.receiver("app", "github", nil)
	r := w.until("app", "waiting for its key", func(r *receiverv1.Receiver) bool {
		return condition(r, meta.ReadyCondition) == "False/"+receiverv1.TokenNotFoundReason
	})
	if got := condition(r, meta.ReconcilingCondition); got != "True/"+meta.ProgressingWithRetryReason || r.Status.ObservedGeneration != -1 || r.Status.WebhookPath != "" {
		t.Errorf("%+v", r.Status)
	}
	w.do(w.cluster.Client.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "key", Labels: map[string]string{"reconcile.fluxcd.io/watch": "Enabled"}}, StringData: map[string]string{"token": "s3cret"},
	}))
	path := w.ready("app")
	sum := sha256.Sum256([]byte("s3cret" + "app" + w.ns))
	if want := "/hook/" + hex.EncodeToString(sum[:]); path != want {
		t.Errorf("path %s, want %s", path, want)
	}
	if got := apimeta.FindStatusCondition(w.get("app").Status.Conditions, meta.ReadyCondition).Message; got != "Receiver initialized for path: "+path {
		t.Errorf("message %q", got)
	}
	w.secret("empty", map[string]string{"token": ""})
	w.receiver("empty", "github", func(r *receiverv1.Receiver) { r.Spec.SecretRef.Name = "empty" })
	w.until("empty", "refused: an empty key lets everybody in", func(r *receiverv1.Receiver) bool {
		return condition(r, meta.ReadyCondition) == "False/"+receiverv1.TokenNotFoundReason
	})
	r = w.get("app")
	before := r.DeepCopy()
	r.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "now"}
	w.do(w.cluster.Client.Patch(t.Context(), r, client.MergeFrom(before)))
	w.until("app", "looked at by request", func(r *receiverv1.Receiver) bool { return r.Status.LastHandledReconcileAt == "now" })
}

// A call is answered when its hint is durable, and only then.
func TestCall(t *testing.T) {
	w := newWorld(t)
	w.secret("key", map[string]string{"token": "s3cret"})
	w.receiver("app", "generic-hmac", nil)
	path, body := w.ready("app"), []byte(`{"any": "thing"}`)
	sign := map[string]string{"X-Signature": hmac256([]byte("s3cret"), body)}
	w.sendUntil(http.StatusOK, "POST", path, sign, body)
	hints := w.taken()
	if len(hints) != 1 || objects(hints[0]) != "GitRepository app" || hints[0].GetReceiver().GetName() != "app" || hints[0].GetObjects()[0].GetNamespace() != w.ns {
		t.Fatalf("hints: %v", hints)
	}
}

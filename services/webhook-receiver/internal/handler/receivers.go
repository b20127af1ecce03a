// Package handler brings Receivers to an address and a status, and keeps the doors of this replica as Receivers, Secrets and settings say.
package handler

import (
	"context"
	"errors"
	"fmt"
	"time"

	receiverv1 "github.com/fluxcd/notification-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/services/webhook-receiver/internal/door"
)

// Backoff of Receivers that fail: a Secret that comes late shows within a minute.
var Backoff = stage.Backoff{Base: time.Second, Max: time.Minute}

// Receivers is the handler of stage receive.
type Receivers struct {
	Cluster              *kube.Cluster
	Events               *kube.Events
	NoCrossNamespaceRefs bool
}

// known is what is remembered of a Receiver.
type known struct {
	UID types.UID `json:"uid"`
	// Told is what was last told in an Event.
	Told string `json:"told,omitempty"`
}

// Handled reads from a Receiver's status what it answers.
func Handled(obj client.Object) (int64, string) {
	r, ok := obj.(*receiverv1.Receiver)
	if !ok {
		return 0, ""
	}
	return r.Status.ObservedGeneration, r.Status.LastHandledReconcileAt
}

// Run brings one Receiver forward.
func (h *Receivers) Run(ctx context.Context, run *stage.Run) (stage.Result, error) {
	r := &receiverv1.Receiver{}
	err := h.Cluster.Read(ctx, run.Key, r, run.Hint.Generation)
	switch {
	case apierrors.IsNotFound(err):
		return stage.Result{Gone: true}, nil
	case err != nil:
		return stage.Result{}, stage.After(5*time.Second, fmt.Errorf("read receiver: %w", err))
	case r.DeletionTimestamp != nil:
		return h.release(ctx, run, r)
	case r.Spec.Suspend:
		return stage.Result{}, nil
	}
	path, err := h.path(ctx, r)
	if err == nil {
		err = h.succeeded(ctx, run, r, path)
	} else {
		err = h.failed(ctx, run, r, err)
	}
	if kube.IsConflict(err) {
		return stage.Result{}, stage.After(250*time.Millisecond, err)
	}
	return stage.Result{Next: max(r.GetInterval(), time.Second)}, err
}

// release lets a deleted object go that has a finalizer from Flux.
func (h *Receivers) release(ctx context.Context, run *stage.Run, r *receiverv1.Receiver) (stage.Result, error) {
	if err := run.Guard(); err != nil {
		return stage.Result{}, err
	}
	if err := h.Cluster.RemoveFinalizer(ctx, r); err != nil {
		return stage.Result{}, err
	}
	return stage.Result{Gone: true}, nil
}

// tokenError says that there is no usable key.
type tokenError struct{ error }

func (e *tokenError) Unwrap() error { return e.error }

// path works out the address of a Receiver, if calls can be taken there.
func (h *Receivers) path(ctx context.Context, r *receiverv1.Receiver) (string, error) {
	if _, err := door.Read(r, h.NoCrossNamespaceRefs); err != nil {
		return "", err
	}
	if r.Spec.SecretRef == nil {
		return door.Path(r, nil), nil
	}
	key := types.NamespacedName{Namespace: r.Namespace, Name: r.Spec.SecretRef.Name}
	data, err := h.Cluster.Secret(ctx, key)
	if kube.IsMissingOrForbidden(err) {
		return "", &tokenError{err}
	}
	if err != nil {
		return "", err
	}
	keys, err := door.ReadKeys(r.Spec.Type, data)
	if err != nil {
		return "", &tokenError{fmt.Errorf("secret %s: %w", key, err)}
	}
	return door.Path(r, keys.Token), nil
}

func (h *Receivers) succeeded(ctx context.Context, run *stage.Run, r *receiverv1.Receiver, path string) error {
	before := r.DeepCopy()
	message := "Receiver initialized for path: " + path // scripts read the path from it
	r.Status.WebhookPath = path
	r.Status.ObservedGeneration, r.Status.LastHandledReconcileAt = r.Generation, kube.RequestedAt(r)
	kube.MarkReady(&r.Status.Conditions, r.Generation, meta.SucceededReason, message)
	if err := h.write(ctx, run, before, r); err != nil {
		return err
	}
	return h.tell(run, r, message, func() {
		h.Events.Normal(r, "", meta.SucceededReason, fmt.Sprintf("Reconciliation finished, next run in %s", r.GetInterval()))
	})
}

// failed writes the failure into the status, and says how to go on.
func (h *Receivers) failed(ctx context.Context, run *stage.Run, r *receiverv1.Receiver, failure error) error {
	var spec *door.Error
	var token *tokenError
	reason, stalled := receiverv1.TokenNotFoundReason, false
	switch {
	case errors.As(failure, &spec):
		reason, stalled = spec.Reason, true
	case !errors.As(failure, &token):
		// An API server that is away is no fault of the object.
		return stage.After(5*time.Second, failure)
	}
	before := r.DeepCopy()
	r.Status.LastHandledReconcileAt = kube.RequestedAt(r)
	if stalled {
		r.Status.ObservedGeneration = r.Generation
	} else {
		r.Status.WebhookPath = ""
	}
	kube.MarkFailed(&r.Status.Conditions, r.Generation, reason, failure.Error(), stalled)
	if err := h.write(ctx, run, before, r); err != nil {
		return err
	}
	if err := h.tell(run, r, reason+": "+failure.Error(), func() { h.Events.Warning(r, "", reason, failure.Error()) }); err != nil {
		return err
	}
	if stalled {
		return stage.Stall(failure)
	}
	return failure
}

func (h *Receivers) write(ctx context.Context, run *stage.Run, before, after *receiverv1.Receiver) error {
	if err := run.Guard(); err != nil {
		return err
	}
	_, err := h.Cluster.PatchStatus(ctx, before, after)
	return err
}

// tell tells an outcome that is another than before, once.
func (h *Receivers) tell(run *stage.Run, r *receiverv1.Receiver, outcome string, tell func()) error {
	var k known
	if _, err := run.Load(&k); err != nil {
		return err
	}
	if k.UID == r.UID && k.Told == outcome {
		return nil
	}
	tell()
	return run.Keep(known{UID: r.UID, Told: outcome})
}

// Report writes into the status what a run could not say itself.
func (h *Receivers) Report(ctx context.Context, run *stage.Run, failure error) {
	r := &receiverv1.Receiver{}
	if err := h.Cluster.Client.Get(ctx, run.Key, r); err != nil {
		return
	}
	before := r.DeepCopy()
	kube.MarkFailed(&r.Status.Conditions, r.Generation, meta.FailedReason, "internal error: "+failure.Error(), false)
	if err := h.write(ctx, run, before, r); err == nil {
		h.Events.Warning(r, "", meta.FailedReason, "internal error: "+failure.Error())
	}
}

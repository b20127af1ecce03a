package kube

import (
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxMessage keeps conditions readable and below the API server's limit of 32 KiB for a message.
const maxMessage = 8 << 10

// MarkReady says in conditions that an object is as its spec wants it.
func MarkReady(conditions *[]metav1.Condition, generation int64, reason, message string) {
	apimeta.RemoveStatusCondition(conditions, meta.ReconcilingCondition)
	apimeta.RemoveStatusCondition(conditions, meta.StalledCondition)
	set(conditions, meta.ReadyCondition, metav1.ConditionTrue, generation, reason, message)
}

// MarkFailed says in conditions that an object is not as its spec wants it, and whether that is tried again or
// stalled until somebody changes something.
func MarkFailed(conditions *[]metav1.Condition, generation int64, reason, message string, stalled bool) {
	set(conditions, meta.ReadyCondition, metav1.ConditionFalse, generation, reason, message)
	if stalled {
		apimeta.RemoveStatusCondition(conditions, meta.ReconcilingCondition)
		set(conditions, meta.StalledCondition, metav1.ConditionTrue, generation, reason, message)
		return
	}
	apimeta.RemoveStatusCondition(conditions, meta.StalledCondition)
	set(conditions, meta.ReconcilingCondition, metav1.ConditionTrue, generation, meta.ProgressingWithRetryReason, message)
}

// MarkProgressing says in conditions that work on an object goes on and how its last outcome may change.
func MarkProgressing(conditions *[]metav1.Condition, generation int64, message string) {
	apimeta.RemoveStatusCondition(conditions, meta.StalledCondition)
	set(conditions, meta.ReconcilingCondition, metav1.ConditionTrue, generation, meta.ProgressingReason, message)
	set(conditions, meta.ReadyCondition, metav1.ConditionUnknown, generation, meta.ProgressingReason, message)
}

// SetCondition sets any condition.
func SetCondition(conditions *[]metav1.Condition, kind string, status metav1.ConditionStatus, generation int64, reason, message string) {
	set(conditions, kind, status, generation, reason, message)
}

// set sets a condition. Its time is that of the last change of status, reason or message, as in Flux: tools show it as the time when an object
// was last brought forward.
func set(conditions *[]metav1.Condition, kind string, status metav1.ConditionStatus, generation int64, reason, message string) {
	c := metav1.Condition{Type: kind, Status: status, ObservedGeneration: generation, Reason: reason, Message: clip(message, maxMessage)}
	was := apimeta.FindStatusCondition(*conditions, kind)
	if was != nil && was.Status == status && (was.Reason != c.Reason || was.Message != c.Message) {
		was.LastTransitionTime = metav1.NewTime(time.Now().Truncate(time.Second))
	}
	apimeta.SetStatusCondition(conditions, c)
}

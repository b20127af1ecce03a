package kube

import (
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What tools show as the time of the last outcome moves with the outcome, and with nothing else.
func TestTimeOfConditions(t *testing.T) {
	long := metav1.NewTime(time.Now().Add(-time.Hour).Truncate(time.Second))
	for name, c := range map[string]struct {
		mark  func(*[]metav1.Condition)
		moves bool
	}{
		"same outcome":       {func(all *[]metav1.Condition) { MarkReady(all, 1, "Succeeded", "at 1") }, false},
		"another generation": {func(all *[]metav1.Condition) { MarkReady(all, 2, "Succeeded", "at 1") }, false},
		"another message":    {func(all *[]metav1.Condition) { MarkReady(all, 1, "Succeeded", "at 2") }, true},
		"another reason":     {func(all *[]metav1.Condition) { MarkReady(all, 1, "Done", "at 1") }, true},
		"failure":            {func(all *[]metav1.Condition) { MarkFailed(all, 1, "Failed", "at 1", false) }, true},
	} {
		all := []metav1.Condition{{Type: "Ready", Status: metav1.ConditionTrue, ObservedGeneration: 1, Reason: "Succeeded", Message: "at 1", LastTransitionTime: long}}
		c.mark(&all)
		if got := apimeta.FindStatusCondition(all, "Ready").LastTransitionTime; got.Equal(&long) == c.moves {
			t.Errorf("%s: time is %s, was %s", name, got, long)
		}
	}
}

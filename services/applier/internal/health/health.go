// Package health tells from an object whether it is what it is to be: kinds that are known by rules of their own, others by the
// conditions that they report, and any by expressions that a Kustomization gives. It looks at nothing but the object.
package health

import (
	"fmt"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Health is the state of one object, and why.
type Health struct {
	Status  status.Status
	Message string
}

// Missing is the health of an object that is not there.
func Missing() Health { return Health{Status: status.NotFoundStatus, Message: "not found"} }

// OK reports whether the object is as it is to be.
func (h Health) OK() bool { return h.Status == status.CurrentStatus }

// Failed reports whether the object says that it will not become so.
func (h Health) Failed() bool { return h.Status == status.FailedStatus }

// maxMessage keeps what is kept of an object small.
const maxMessage = 256

// Of returns the health of an object.
func Of(u *unstructured.Unstructured, e Expressions) Health {
	if rule := e.find(u.GroupVersionKind().GroupKind()); rule != nil {
		return rule.evaluate(u)
	}
	if gk := u.GroupVersionKind().GroupKind(); gk.Group == "batch" && gk.Kind == "Job" && u.GetDeletionTimestamp() == nil {
		return ofJob(u)
	}
	result, err := status.Compute(u)
	if err != nil {
		return Health{Status: status.UnknownStatus, Message: "its status cannot be read"}
	}
	return Health{Status: result.Status, Message: clip(result.Message)}
}

func clip(text string) string {
	if len(text) > maxMessage {
		return text[:maxMessage]
	}
	return text
}

// ofJob returns the health of a Job: it is healthy once it is complete, or as long as it is suspended.
func ofJob(u *unstructured.Unstructured) Health {
	if suspended, _, _ := unstructured.NestedBool(u.Object, "spec", "suspend"); suspended {
		return Health{Status: status.CurrentStatus, Message: "job is suspended"}
	}
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		if condition["status"] != "True" {
			continue
		}
		switch condition["type"] {
		case "Complete":
			return Health{Status: status.CurrentStatus, Message: "job is complete"}
		case "Failed":
			return Health{Status: status.FailedStatus, Message: clip(fmt.Sprintf("job failed: %v", condition["message"]))}
		}
	}
	return Health{Status: status.InProgressStatus, Message: "job is not complete"}
}

// stateless are kinds that are as they are to be once they are there.
var stateless = map[schema.GroupKind]bool{
	{Kind: "ConfigMap"}: true, {Kind: "Secret"}: true, {Kind: "ServiceAccount"}: true, {Kind: "LimitRange"}: true, {Kind: "Endpoints"}: true,
	{Group: "rbac.authorization.k8s.io", Kind: "Role"}:                                true,
	{Group: "rbac.authorization.k8s.io", Kind: "RoleBinding"}:                         true,
	{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole"}:                         true,
	{Group: "rbac.authorization.k8s.io", Kind: "ClusterRoleBinding"}:                  true,
	{Group: "storage.k8s.io", Kind: "StorageClass"}:                                   true,
	{Group: "scheduling.k8s.io", Kind: "PriorityClass"}:                               true,
	{Group: "networking.k8s.io", Kind: "NetworkPolicy"}:                               true,
	{Group: "networking.k8s.io", Kind: "IngressClass"}:                                true,
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingWebhookConfiguration"}:   true,
	{Group: "admissionregistration.k8s.io", Kind: "MutatingWebhookConfiguration"}:     true,
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingAdmissionPolicyBinding"}: true,
}

// HasState reports whether there is more to the health of a kind's objects than that they are there.
func HasState(kind schema.GroupKind) bool { return !stateless[kind] }

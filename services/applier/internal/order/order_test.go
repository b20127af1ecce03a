package order

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func gk(s string) schema.GroupKind { return schema.ParseGroupKind(s) }

func TestGroup(t *testing.T) {
	kinds := []schema.GroupKind{
		gk("ValidatingWebhookConfiguration.admissionregistration.k8s.io"), gk("Widget.example.com"), gk("Deployment.apps"),
		gk("Service"), gk("Role.rbac.authorization.k8s.io"), gk("StorageClass.storage.k8s.io"), gk("Namespace"),
		gk("CustomResourceDefinition.apiextensions.k8s.io"), gk("Service.serving.knative.dev"), gk("ConfigMap"),
	}
	want := [][]schema.GroupKind{
		{gk("Namespace"), gk("CustomResourceDefinition.apiextensions.k8s.io")},
		{gk("StorageClass.storage.k8s.io")},
		{gk("Role.rbac.authorization.k8s.io")},
		{gk("Service"), gk("ConfigMap")},
		{gk("Deployment.apps")},
		{gk("Widget.example.com"), gk("Service.serving.knative.dev")},
		{gk("ValidatingWebhookConfiguration.admissionregistration.k8s.io")},
	}
	got := Group(kinds, func(k schema.GroupKind) schema.GroupKind { return k })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What one kind needs of another at the moment of its creation.
func TestNeedsComeFirst(t *testing.T) {
	for _, pair := range [][2]string{
		{"Namespace", "ServiceAccount"},
		{"CustomResourceDefinition.apiextensions.k8s.io", "GatewayClass.gateway.networking.k8s.io"},
		{"ClusterRole.rbac.authorization.k8s.io", "ClusterRoleBinding.rbac.authorization.k8s.io"},
		{"Role.rbac.authorization.k8s.io", "RoleBinding.rbac.authorization.k8s.io"},
		{"ServiceAccount", "Secret"},
		{"ServiceAccount", "Pod"},
		{"StorageClass.storage.k8s.io", "PersistentVolumeClaim"},
		{"PersistentVolume", "PersistentVolumeClaim"},
		{"PriorityClass.scheduling.k8s.io", "Deployment.apps"},
		{"LimitRange", "Job.batch"},
		{"ConfigMap", "DaemonSet.apps"},
		{"Deployment.apps", "MutatingWebhookConfiguration.admissionregistration.k8s.io"},
		{"Certificate.cert-manager.io", "MutatingWebhookConfiguration.admissionregistration.k8s.io"},
	} {
		if Of(gk(pair[0])) >= Of(gk(pair[1])) {
			t.Errorf("%s is not before %s", pair[0], pair[1])
		}
	}
}

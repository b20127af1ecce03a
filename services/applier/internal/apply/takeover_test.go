package apply

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A field that another tool put there, and that Git no longer has, goes away with the first apply.
func TestTakeover(t *testing.T) {
	for _, manager := range []string{"kubectl-client-side-apply", "kubectl-edit", "kustomize-controller", "flux", "argocd-controller"} {
		t.Run(manager, func(t *testing.T) {
			f := setUp(t, Config{})
			object := f.parse(configMap("a", "1"))[0]
			if _, err := f.client(object).Create(context.Background(), object, metav1.CreateOptions{FieldManager: manager}); err != nil {
				t.Fatal(err)
			}
			f.patch(object, manager, `{"data":{"left":"over"},"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}"}}}`)
			f.patch(object, "autoscaler", `{"data":{"foreign":"field"}}`)

			f.want(f.apply(configMap("a", "1")).Changes, "ConfigMap/a configured")
			live := f.kubectl("get", object)
			if diff := cmp.Diff(map[string]any{"key": "1", "foreign": "field"}, live.Object["data"]); diff != "" {
				t.Errorf("data:\n%s", diff)
			}
			if len(live.GetAnnotations()) != 0 {
				t.Errorf("annotations = %v", live.GetAnnotations())
			}
			if diff := cmp.Diff([]string{"sluice/Apply", "autoscaler/Update"}, managersOf(live)); diff != "" {
				t.Errorf("managers:\n%s", diff)
			}
			f.want(f.apply(configMap("a", "1")).Changes, "ConfigMap/a unchanged")
		})
	}
}

// What another tool applied server-side is taken over too.
func TestTakeoverFromApply(t *testing.T) {
	f := setUp(t, Config{})
	object := f.parse(configMap("a", "1"))[0]
	body := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"key":"0","left":"over"}}`
	if _, err := f.client(object).Patch(context.Background(), "a", types.ApplyPatchType, []byte(body), metav1.PatchOptions{FieldManager: "kustomize-controller"}); err != nil {
		t.Fatal(err)
	}
	f.want(f.apply(configMap("a", "1")).Changes, "ConfigMap/a configured")
	if diff := cmp.Diff(map[string]any{"key": "1"}, f.kubectl("get", object).Object["data"]); diff != "" {
		t.Errorf("data:\n%s", diff)
	}
}

// kubectl edit of an object that is ours already is undone, also where it adds a field.
func TestTakeoverOfALaterEdit(t *testing.T) {
	f := setUp(t, Config{})
	object := f.parse(configMap("a", "1"))[0]
	f.apply(configMap("a", "1"))
	f.patch(object, "kubectl-edit", `{"data":{"added":"by hand"}}`)
	f.want(f.apply(configMap("a", "1")).Changes, "ConfigMap/a configured")
	if diff := cmp.Diff(map[string]any{"key": "1"}, f.kubectl("get", object).Object["data"]); diff != "" {
		t.Errorf("data:\n%s", diff)
	}
}

// Flux documents this manager as the way to keep an edit.
func TestNoTakeoverOfFluxClientSideApply(t *testing.T) {
	f := setUp(t, Config{})
	object := f.parse(configMap("a", "1"))[0]
	f.apply(configMap("a", "1"))
	f.patch(object, "flux-client-side-apply", `{"data":{"added":"by hand"}}`)
	f.want(f.apply(configMap("a", "1")).Changes, "ConfigMap/a unchanged")
	if got := f.text(object, "data", "added"); got != "by hand" {
		t.Errorf("added = %q", got)
	}
}

func TestMergeKeepsTheFieldsOfOthers(t *testing.T) {
	f := setUp(t, Config{})
	docs := configMap("a", "1", annotated(annotationApply, "Merge"))
	object := f.parse(docs)[0]
	f.apply(docs)
	f.patch(object, "kubectl-edit", `{"data":{"key":"2","added":"by hand"}}`)
	f.want(f.apply(docs).Changes, "ConfigMap/a configured")
	if diff := cmp.Diff(map[string]any{"key": "1", "added": "by hand"}, f.kubectl("get", object).Object["data"]); diff != "" {
		t.Errorf("data:\n%s", diff)
	}
}

// An object whose managed fields were wiped: the API server notes what it held as before-first-apply
// only while it is applied, so it takes a second patch in the same run.
func TestTakeoverOfWipedManagedFields(t *testing.T) {
	f := setUp(t, Config{})
	object := f.kubectl("create", f.parse(configMap("a", "1"))[0])
	f.patch(object, "somebody", `{"data":{"left":"over"},"metadata":{"managedFields":[{}]}}`)
	if managers := managersOf(f.kubectl("get", object)); len(managers) != 0 {
		t.Fatalf("managers = %v, want none to begin with", managers)
	}
	f.want(f.apply(configMap("a", "1")).Changes, "ConfigMap/a configured")
	if diff := cmp.Diff(map[string]any{"key": "1"}, f.kubectl("get", object).Object["data"]); diff != "" {
		t.Errorf("data:\n%s", diff)
	}
	f.want(f.apply(configMap("a", "1")).Changes, "ConfigMap/a unchanged")
}

// Somebody writes between our look and the takeover: that claim must not be lost.
func TestTakeoverLosesNoClaim(t *testing.T) {
	f := setUp(t, Config{})
	object := f.kubectl("create", f.parse(configMap("a", "1"))[0])
	first := true
	f.options.Guard = func() error {
		if first {
			first = false
			f.patch(object, "autoscaler", `{"data":{"foreign":"field"}}`)
		}
		return nil
	}
	f.want(f.apply(configMap("a", "1")).Changes, "ConfigMap/a configured")
	live := f.kubectl("get", object)
	if diff := cmp.Diff([]string{"sluice/Apply", "autoscaler/Update"}, managersOf(live)); diff != "" {
		t.Errorf("managers:\n%s", diff)
	}
}

func TestIsForeign(t *testing.T) {
	for name, tc := range map[string]struct {
		entry metav1.ManagedFieldsEntry
		want  bool
	}{
		"kubectl":           {metav1.ManagedFieldsEntry{Manager: "kubectl", Operation: "Apply"}, true},
		"kubectl rollout":   {metav1.ManagedFieldsEntry{Manager: "kubectl-rollout", Operation: "Update"}, true},
		"kubectl of status": {metav1.ManagedFieldsEntry{Manager: "kubectl-edit", Operation: "Update", Subresource: "status"}, false},
		"kubectl of scale":  {metav1.ManagedFieldsEntry{Manager: "kubectl", Operation: "Update", Subresource: "scale"}, false},
		"ours":              {metav1.ManagedFieldsEntry{Manager: "sluice", Operation: "Apply"}, false},
		"ours, updated":     {metav1.ManagedFieldsEntry{Manager: "sluice", Operation: "Update"}, true},
		"controller":        {metav1.ManagedFieldsEntry{Manager: "kube-controller-manager", Operation: "Update"}, false},
		"kept on purpose":   {metav1.ManagedFieldsEntry{Manager: "flux-client-side-apply", Operation: "Update"}, false},
	} {
		if got := isForeign(tc.entry, "sluice"); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

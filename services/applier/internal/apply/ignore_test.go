package apply

import (
	"context"
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

func ignore(t *testing.T, paths ...string) []IgnoreRule {
	t.Helper()
	rules, err := CompileIgnore([]kustomizev1.IgnoreRule{{Paths: paths, Target: &kustomize.Selector{Kind: "Deployment"}}})
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func workload(replicas, cpu string) string {
	return "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: NS}, spec: {replicas: " + replicas + ", selector: {matchLabels: {app: web}}, " +
		"template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: one, resources: {requests: {cpu: " + cpu + "}}}]}}}}"
}

// A field that another applier owns is given up to it; one that was only updated stays ours, with the value that it has.
func TestIgnoredFieldsAreGivenUpOrAdopted(t *testing.T) {
	f := setUp(t, Config{})
	f.options.Ignore = ignore(t, "/spec/replicas", "/spec/template/spec/containers/0/resources")
	f.apply(workload("3", "1"))
	web := f.parse(workload("3", "1"))[0]
	f.patch(web, "kubectl-edit", `{"spec":{"replicas":7}}`)
	recommender := f.parse("{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: NS}, spec: {selector: {matchLabels: {app: web}}, " +
		"template: {spec: {containers: [{name: c, resources: {requests: {cpu: '2'}}}]}}}}")[0]
	if _, err := f.client(web).Apply(context.Background(), "web", recommender, metav1.ApplyOptions{FieldManager: "recommender", Force: true}); err != nil {
		t.Fatal(err)
	}
	f.want(f.apply(workload("5", "1")).Changes, "Deployment/web configured")
	live := f.kubectl("get", web)
	replicas, _, _ := unstructured.NestedInt64(live.Object, "spec", "replicas")
	containers, _, _ := unstructured.NestedSlice(live.Object, "spec", "template", "spec", "containers")
	cpu, _, _ := unstructured.NestedString(containers[0].(map[string]any), "resources", "requests", "cpu")
	if replicas != 7 || cpu != "2" {
		t.Errorf("replicas %d, cpu %s", replicas, cpu)
	}
	f.want(f.apply(workload("5", "1")).Changes, "Deployment/web unchanged")
}

// An object that is settled is not asked about.
func TestSettledObjectsAreSkipped(t *testing.T) {
	f := setUp(t, Config{})
	first := f.apply(configMap("a", "1") + configMap("b", "1"))
	f.patch(f.parse(configMap("a", "1"))[0], "kubectl-edit", `{"data":{"key":"2"}}`)
	digests := map[string]string{}
	for _, c := range first.Changes {
		digests[c.ID.Name] = c.Seen.Digest
	}
	f.options.Settled = func(id inventory.ID, digest string) bool { return digests[id.Name] == digest }
	f.want(f.apply(configMap("a", "1")+configMap("b", "2")).Changes, "ConfigMap/a unchanged", "ConfigMap/b configured")
	if got := f.text(f.parse(configMap("a", "1"))[0], "data", "key"); got != "2" {
		t.Errorf("a = %q: it was sent", got)
	}
}

// The fields that rules ignore are not part of the hash by which drift is seen.
func TestOwnFieldsWithoutIgnored(t *testing.T) {
	f := setUp(t, Config{})
	f.options.Ignore = ignore(t, "/spec/replicas")
	before := f.apply(workload("3", "1")).Changes[0].Seen.OwnFields
	web := f.parse(workload("3", "1"))[0]
	own := func(manager, patch string) string {
		live := f.patch(web, manager, patch)
		meta := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: f.namespace, ManagedFields: live.GetManagedFields()}}
		fields, _ := Own(meta, live.GroupVersionKind().GroupKind(), "sluice", f.options.Ignore)
		return fields
	}
	if own("autoscaler", `{"spec":{"replicas":7}}`) != before {
		t.Error("an ignored field counts")
	}
	if own("somebody", `{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"two"}]}}}}`) == before {
		t.Error("a field that no rule names does not count")
	}
}

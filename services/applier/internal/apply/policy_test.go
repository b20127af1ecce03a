package apply

import (
	"strings"
	"testing"
)

func annotated(key, value string) string { return "annotations: {" + key + ": '" + value + "'}" }

// Each of these leaves an object alone, whether it is found in Git or in the cluster.
var pauses = map[string]string{
	"reconcile disabled": annotated(annotationReconcile, "disabled"),
	"reconcile label":    "labels: {" + annotationReconcile + ": Disabled}",
	"ssa ignore":         annotated(annotationApply, "Ignore"),
	"flux 1":             annotated("fluxcd.io/ignore", "true"),
	"older flux 1":       annotated("flux.weave.works/ignore", "true"),
}

func TestPausedInGit(t *testing.T) {
	for name, metadata := range pauses {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			f := setUp(t, Config{})
			docs := configMap("a", "1", metadata)
			result := f.apply(docs)
			f.want(result.Changes, "ConfigMap/a skipped")
			if f.exists(f.parse(docs)[0]) {
				t.Error("it was created")
			}
			if result.Inventory.Len() != 1 {
				t.Error("it is not in the inventory, so it would be pruned")
			}
		})
	}
}

func TestPausedInTheCluster(t *testing.T) {
	for name, metadata := range pauses {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			f := setUp(t, Config{})
			object := f.parse(configMap("a", "1", metadata))[0]
			f.kubectl("create", object)
			for range 2 {
				f.want(f.apply(configMap("a", "2")).Changes, "ConfigMap/a skipped")
			}
			if got := f.text(object, "data", "key"); got != "1" {
				t.Errorf("value = %q, want it left alone", got)
			}
		})
	}
}

// The pause must be seen though the object is remembered from before it, and so must its end.
func TestPausedAfterItWasApplied(t *testing.T) {
	f := setUp(t, Config{})
	object := f.parse(configMap("a", "1"))[0]
	f.apply(configMap("a", "1"))
	f.patch(object, "somebody", `{"metadata":{"annotations":{"`+annotationReconcile+`":"disabled"}},"data":{"key":"mine"}}`)
	f.want(f.apply(configMap("a", "2")).Changes, "ConfigMap/a skipped")
	if got := f.text(object, "data", "key"); got != "mine" {
		t.Errorf("value = %q, want it left alone", got)
	}
	f.patch(object, "somebody", `{"metadata":{"annotations":{"`+annotationReconcile+`":"enabled"}}}`)
	f.want(f.apply(configMap("a", "2")).Changes, "ConfigMap/a configured")
}

func TestSyncOnlyIsApplied(t *testing.T) {
	f := setUp(t, Config{})
	metadata := annotated("fluxcd.io/ignore", "sync_only")
	f.want(f.apply(configMap("a", "1", metadata)).Changes, "ConfigMap/a created")
	f.want(f.apply(configMap("a", "2", metadata)).Changes, "ConfigMap/a configured")
}

func TestIfNotPresent(t *testing.T) {
	f := setUp(t, Config{})
	metadata := annotated(annotationApply, "IfNotPresent")
	object := f.parse(configMap("a", "1"))[0]
	f.want(f.apply(configMap("a", "1", metadata)).Changes, "ConfigMap/a created")
	f.want(f.apply(configMap("a", "2", metadata)).Changes, "ConfigMap/a skipped")
	if got := f.text(object, "data", "key"); got != "1" {
		t.Errorf("value = %q, want it left alone", got)
	}
	for range 2 { // The second time it is remembered.
		f.kubectl("delete", object)
		f.want(f.apply(configMap("a", "2", metadata)).Changes, "ConfigMap/a created")
	}
}

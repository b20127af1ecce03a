package apply

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

func TestPrune(t *testing.T) {
	f := setUp(t, Config{})
	old := f.apply(configMap("a", "1") + configMap("b", "1")).Inventory
	new := f.apply(configMap("a", "1")).Inventory
	result := f.prune(old, new)
	f.want(result.Changes, "ConfigMap/b deleted")
	if result.Remaining.Len() != 0 {
		t.Errorf("%d objects remain", result.Remaining.Len())
	}
	if f.exists(f.parse(configMap("b", ""))[0]) || !f.exists(f.parse(configMap("a", ""))[0]) {
		t.Error("the wrong objects are left")
	}
	f.want(f.prune(old, new).Changes, "ConfigMap/b gone")
}

// What lives in something goes before it, and what is defined by something too.
func TestPruneOrder(t *testing.T) {
	f := setUp(t, Config{})
	docs := "{apiVersion: v1, kind: Namespace, metadata: {name: NS-own}}\n" +
		strings.ReplaceAll(configMap("a", "1"), "namespace: NS", "namespace: NS-own") + crd("prunes") + "---\n" + widget("prunes", "w", 1)
	inv := f.apply(docs).Inventory
	var got []string
	for _, c := range f.prune(inv, inventory.Inventory{}).Changes {
		got = append(got, c.ID.Kind+" "+string(c.Action))
	}
	want := "[Prunes deleted ConfigMap deleted Namespace deleted CustomResourceDefinition deleted]"
	if text := fmt.Sprint(got); text != want && text != "[Prunes deleted ConfigMap deleted CustomResourceDefinition deleted Namespace deleted]" {
		t.Errorf("pruned %v, want %v", text, want)
	}
}

func TestPruneSpares(t *testing.T) {
	for name, metadata := range map[string]string{
		"prune-disabled":     annotated(annotationPrune, "disabled"),
		"prune-label":        "labels: {" + annotationPrune + ": Disabled}",
		"reconcile-disabled": annotated(annotationReconcile, "disabled"),
		"ssa-ignore":         annotated(annotationApply, "Ignore"),
		"flux-1":             annotated("fluxcd.io/ignore", "true"),
		"flux-1-sync-only":   annotated("fluxcd.io/ignore", "sync_only"),
	} {
		t.Run(name, func(t *testing.T) {
			f := setUp(t, Config{})
			inv := f.apply(configMap("a", "1")).Inventory
			object := f.parse(configMap("a", "1", metadata))[0]
			labels := object.GetLabels()
			for key, value := range labels {
				f.patch(object, "x", `{"metadata":{"labels":{"`+key+`":"`+value+`"}}}`)
			}
			for key, value := range object.GetAnnotations() {
				f.patch(object, "x", `{"metadata":{"annotations":{"`+key+`":"`+value+`"}}}`)
			}
			result := f.prune(inv, inventory.Inventory{})
			f.want(result.Changes, "ConfigMap/a skipped")
			if result.Changes[0].Note == "" {
				t.Error("no reason is given")
			}
			if !f.exists(object) {
				t.Error("it was deleted")
			}
		})
	}
}

func TestPruneSparesOtherOwners(t *testing.T) {
	for name, patch := range map[string]string{
		"another-name":      `{"metadata":{"labels":{"` + labelOwnerName + `":"other"}}}`,
		"another-namespace": `{"metadata":{"labels":{"` + labelOwnerNamespace + `":"other"}}}`,
		"no-labels":         `{"metadata":{"labels":null}}`,
	} {
		t.Run(name, func(t *testing.T) {
			f := setUp(t, Config{})
			inv := f.apply(configMap("a", "1")).Inventory
			object := f.parse(configMap("a", "1"))[0]
			f.patch(object, "x", patch)
			f.want(f.prune(inv, inventory.Inventory{}).Changes, "ConfigMap/a skipped")
			if !f.exists(object) {
				t.Error("it was deleted")
			}
		})
	}
}

func TestPruneWithoutOwnerDeletesNothing(t *testing.T) {
	f := setUp(t, Config{})
	object := f.kubectl("create", f.parse(configMap("a", "1"))[0])
	var inv inventory.Inventory
	inv.Add(inventory.Of(object), "v1")
	f.options.Owner = Owner{}
	f.want(f.prune(inv, inventory.Inventory{}).Changes, "ConfigMap/a skipped")
}

func TestPruneOfWhatCannotBeThere(t *testing.T) {
	f := setUp(t, Config{})
	for name, id := range map[string]inventory.ID{
		"unknown kind":     {Namespace: f.namespace, Name: "a", Group: "gone.example.com", Kind: "Gone"},
		"unknown object":   {Namespace: f.namespace, Name: "a", Kind: "ConfigMap"},
		"unknown place":    {Namespace: f.namespace + "-not", Name: "a", Kind: "ConfigMap"},
		"no namespace":     {Name: "a", Kind: "ConfigMap"},
		"path for a name":  {Namespace: f.namespace, Name: "../../namespaces/" + f.namespace, Kind: "ConfigMap"},
		"path for a place": {Namespace: "..", Name: "a", Kind: "ConfigMap"},
	} {
		var inv inventory.Inventory
		inv.Add(id, "v1")
		result := f.prune(inv, inventory.Inventory{})
		if len(result.Changes) != 1 || result.Changes[0].Action != Gone || result.Changes[0].Note == "" || result.Remaining.Len() != 0 {
			t.Errorf("%s: %+v, %d remain", name, result.Changes, result.Remaining.Len())
		}
	}
}

// The inventory names a version that is not served any more; the object is.
func TestPruneFindsAnotherVersion(t *testing.T) {
	f := setUp(t, Config{})
	f.apply(configMap("a", "1"))
	var inv inventory.Inventory
	inv.Add(inventory.ID{Namespace: f.namespace, Name: "a", Kind: "ConfigMap"}, "v1beta7")
	f.want(f.prune(inv, inventory.Inventory{}).Changes, "ConfigMap/a deleted")
}

// Events are served by two groups: an inventory may name one object by one and the set by the other.
func TestPruneSparesTheSameObjectByAnotherGroup(t *testing.T) {
	f := setUp(t, Config{})
	new := f.apply(`{apiVersion: events.k8s.io/v1, kind: Event, metadata: {name: e, namespace: NS}, eventTime: "2026-01-01T00:00:00.000000Z",
 reportingController: a/b, reportingInstance: c, action: d, reason: e, type: Normal, regarding: {namespace: NS}}`).Inventory
	var old inventory.Inventory
	old.Add(inventory.ID{Namespace: f.namespace, Name: "e", Kind: "Event"}, "v1")
	f.want(f.prune(old, new).Changes, "Event/e skipped")
}

// An inventory written by others may hold a namespace for a kind that has none.
func TestPruneSparesTheSameClusterScopedObject(t *testing.T) {
	f := setUp(t, Config{})
	new := f.apply("{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: NS}, rules: []}").Inventory
	f.restart(Config{})
	var old inventory.Inventory
	old.Add(inventory.ID{Namespace: "default", Name: f.namespace, Group: "rbac.authorization.k8s.io", Kind: "ClusterRole"}, "v1")
	if changes := f.prune(old, new).Changes; len(changes) != 1 || changes[0].Action != Skipped {
		t.Errorf("changes = %v", changes)
	}
}

func TestPruneLeavesWhatIsBeingDeleted(t *testing.T) {
	f := setUp(t, Config{})
	docs := configMap("a", "1", "finalizers: [example.com/wait]")
	inv := f.apply(docs).Inventory
	f.want(f.prune(inv, inventory.Inventory{}).Changes, "ConfigMap/a deleted")
	f.want(f.prune(inv, inventory.Inventory{}).Changes, "ConfigMap/a gone")
	f.wantLeft(inv, 1, 1)
	f.patch(f.parse(docs)[0], "x", `{"metadata":{"finalizers":null}}`)
	f.wantLeft(inv, 0, 0)
	f.apply(docs)
	f.wantLeft(inv, 1, 0)
}

// wantLeft compares how many objects of an inventory exist, and how many of them are being deleted.
func (f *fixture) wantLeft(inv inventory.Inventory, existing, terminating int) {
	f.Helper()
	if left, err := f.filter(f.Context(), inv, func(*answer) bool { return true }); err != nil || left.Len() != existing {
		f.Errorf("%d exist, %v; want %d", left.Len(), err, existing)
	}
	if left, err := f.Terminating(f.Context(), inv); err != nil || left.Len() != terminating {
		f.Errorf("%d are terminating, %v; want %d", left.Len(), err, terminating)
	}
}

// What fails is told, stays in the inventory, and does not keep the rest.
func TestPruneFailure(t *testing.T) {
	f := setUp(t, Config{})
	inv := f.apply(configMap("a", "1") + configMap("b", "1")).Inventory
	f.impersonate("nobody")
	result, err := f.Prune(t.Context(), inv, inventory.Inventory{}, f.options)
	if KindOf(err) != Forbidden || result.Remaining.Len() != 2 || len(result.Changes) != 0 {
		t.Errorf("error = %v, %d remain, changes %v", err, result.Remaining.Len(), result.Changes)
	}
}

func TestPruneGuard(t *testing.T) {
	f := setUp(t, Config{})
	inv := f.apply(configMap("a", "1")).Inventory
	lost := errors.New("lock lost")
	f.options.Guard = func() error { return lost }
	result, err := f.Prune(t.Context(), inv, inventory.Inventory{}, f.options)
	if !errors.Is(err, lost) || KindOf(err) != Stopped || result.Remaining.Len() != 1 {
		t.Errorf("error = %v, %d remain", err, result.Remaining.Len())
	}
	if !f.exists(f.parse(configMap("a", "1"))[0]) {
		t.Error("it was deleted")
	}
}

// The object that was looked at was replaced before it could be deleted.
func TestPruneDeletesOnlyWhatWasLookedAt(t *testing.T) {
	f := setUp(t, Config{})
	inv := f.apply(configMap("a", "1")).Inventory
	object := f.parse(configMap("a", "1"))[0]
	f.options.Guard = func() error {
		f.kubectl("delete", object)
		f.kubectl("create", object)
		return nil
	}
	result, err := f.Prune(t.Context(), inv, inventory.Inventory{}, f.options)
	if KindOf(err) != Conflict || result.Remaining.Len() != 1 || !f.exists(object) {
		t.Errorf("error = %v, %d remain", err, result.Remaining.Len())
	}
}

func TestPruneCollectsDependants(t *testing.T) {
	f := setUp(t, Config{})
	inv := f.apply("{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: NS}, spec: {selector: {matchLabels: {a: b}}," +
		" template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: 'i:1'}]}}}}").Inventory
	f.want(f.prune(inv, inventory.Inventory{}).Changes, "Deployment/web deleted")
	// With propagation Foreground or Orphan it would still be there, with a finalizer.
	deployment := f.parse("{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: NS}}")[0]
	if _, err := f.client(deployment).Get(t.Context(), "web", metav1.GetOptions{}); err == nil {
		t.Error("it is still there")
	}
}

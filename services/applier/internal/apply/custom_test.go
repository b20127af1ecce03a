package apply

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// crd defines a kind of the given plural, with one number in its spec. The kind is the plural with a
// capital letter.
func crd(plural string) string {
	return fmt.Sprintf(`---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[1]s.test.sluice.dev}
spec:
  group: test.sluice.dev
  scope: Namespaced
  names: {plural: %[1]s, singular: %[1]s, kind: %[2]s, listKind: %[2]sList}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer, minimum: 1}}}}}}
`, plural, kindOfPlural(plural))
}

func kindOfPlural(plural string) string { return strings.ToUpper(plural[:1]) + plural[1:] }

func widget(plural, name string, size int) string {
	return fmt.Sprintf("---\n{apiVersion: test.sluice.dev/v1, kind: %s, metadata: {name: %s, namespace: NS}, spec: {size: %d}}\n",
		kindOfPlural(plural), name, size)
}

// The definition and its instances come in one set, instances first.
func TestDefinitionInTheSet(t *testing.T) {
	f := setUp(t, Config{WaitTimeout: 20 * time.Second})
	docs := widget("widgets", "a", 1) + widget("widgets", "b", 1) + crd("widgets")
	result := f.apply(docs)
	f.want(result.Changes, "CustomResourceDefinition/widgets.test.sluice.dev created", "Widgets/a created", "Widgets/b created")
	if len(result.Pending) != 0 {
		t.Errorf("pending: %v", result.Pending)
	}
	f.want(f.apply(docs).Changes, "CustomResourceDefinition/widgets.test.sluice.dev unchanged", "Widgets/a unchanged", "Widgets/b unchanged")
}

// A definition whose names are taken is not established before they are free. Until then its
// instances are pending with the reason, all else is applied, and coming back finishes.
func TestPendingDefinition(t *testing.T) {
	f := setUp(t, Config{WaitTimeout: 20 * time.Second})
	holder := f.apply(crd("taken") + widget("taken", "a", 1)).Inventory
	f.restart(Config{WaitTimeout: 100 * time.Millisecond})
	other := strings.NewReplacer("kind: Other,", "kind: Taken,", "OtherList", "TakenList").Replace(crd("other"))
	docs := other + widget("taken", "b", 1) + configMap("c", "1")

	result := f.apply(docs)
	if len(result.Pending) != 1 || result.Pending[0].ID.Name != "b" || !strings.Contains(result.Pending[0].Reason, "already in use") {
		t.Fatalf("pending = %+v (changes %v)", result.Pending, result.Changes)
	}
	f.want(result.Changes, "CustomResourceDefinition/other.test.sluice.dev created", "ConfigMap/c created")
	if result.Inventory.Len() != 3 {
		t.Errorf("inventory has %d objects, want the pending one too", result.Inventory.Len())
	}
	f.prune(holder, result.Inventory)
	deadline := time.Now().Add(20 * time.Second)
	for length, more := firstPause, true; len(result.Pending) > 0; result = f.apply(docs) {
		if length, more = pause(t.Context(), length, deadline); !more {
			t.Fatalf("still pending: %+v", result.Pending)
		}
	}
	f.want(result.Changes, "CustomResourceDefinition/other.test.sluice.dev unchanged", "ConfigMap/c unchanged", "Taken/b created")
}

// The definition came with another set, after this engine had asked which kinds there are.
func TestDefinitionOfAnotherSet(t *testing.T) {
	f := setUp(t, Config{WaitTimeout: 20 * time.Second})
	_, failures := f.applyFails(configMap("c", "1") + widget("another", "a", 1))
	if failures.Kind() != UnknownKind || !failures.Kind().Retryable() {
		t.Errorf("kind = %q", failures.Kind())
	}
	f.apply(crd("another") + widget("another", "b", 1))
	f.want(f.applySoon(widget("another", "a", 1)).Changes, "Another/a created")
}

// applySoon applies once discovery has caught up with a new kind.
func (f *fixture) applySoon(docs string) *Result {
	f.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for length, more := firstPause, true; ; {
		result, err := f.Apply(f.Context(), f.parse(docs), f.options)
		if err == nil {
			return result
		}
		if length, more = pause(f.Context(), length, deadline); !more || KindOf(err) != UnknownKind {
			f.Fatal(err)
		}
	}
}

// A definition and instances that use what is new in it, in one set, over and over.
func TestChangedDefinition(t *testing.T) {
	f := setUp(t, Config{WaitTimeout: 20 * time.Second})
	f.apply(crd("changing") + widget("changing", "a", 1))
	docs := strings.ReplaceAll(crd("changing"), "size: {type: integer, minimum: 1}", "size: {type: integer}, color: {type: string}") +
		strings.ReplaceAll(widget("changing", "a", 1), "size: 1", "color: red")
	deadline := time.Now().Add(20 * time.Second)
	for length, more := firstPause, true; ; {
		result := f.apply(docs)
		if len(result.Pending) == 0 {
			break
		}
		t.Log(result.Pending)
		if length, more = pause(t.Context(), length, deadline); !more {
			t.Fatal("still pending")
		}
	}
	if got := f.text(f.parse(widget("changing", "a", 1))[0], "spec", "color"); got != "red" {
		t.Errorf("color = %q", got)
	}
}

// A bundle that holds no certificate is left to the injector it is meant for.
func TestBadBundle(t *testing.T) {
	f := setUp(t, Config{})
	docs := strings.Replace(crd("converted"), "  names:", `  conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [v1],
    clientConfig: {caBundle: Cg==, service: {name: s, namespace: NS}}}}
  names:`, 1)
	set := f.parse(docs)
	f.want(f.apply(docs).Changes, "CustomResourceDefinition/converted.test.sluice.dev created")
	if _, ok, _ := unstructured.NestedString(f.kubectl("get", set[0]).Object, bundlePath...); ok {
		t.Error("the bundle was sent")
	}
	if _, err := f.Apply(t.Context(), set, f.options); err != nil {
		t.Error(err)
	}
	if _, ok, _ := unstructured.NestedString(set[0].Object, bundlePath...); !ok {
		t.Error("the set was changed")
	}
}

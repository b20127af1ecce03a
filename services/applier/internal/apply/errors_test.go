package apply

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

const badService = "---\n{apiVersion: v1, kind: Service, metadata: {name: bad, namespace: NS}, spec: {ports: [{port: 99999999}]}}\n"

// The others of its class are applied, the next class is not begun.
func TestInvalidAmongValid(t *testing.T) {
	f := setUp(t, Config{})
	deployment := "---\n{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: NS}, spec: {selector: {matchLabels: {a: b}}," +
		" template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: 'i:1'}]}}}}\n"
	result, failures := f.applyFails(configMap("a", "1") + badService + configMap("b", "1") + deployment)
	f.want(result.Changes, "ConfigMap/a created", "ConfigMap/b created")
	if len(failures.Objects) != 1 || failures.Skipped != 1 {
		t.Fatalf("failures = %v, %d skipped", failures, failures.Skipped)
	}
	got := failures.Objects[0]
	if got.Kind != Invalid || got.Kind.Retryable() || got.Code != 422 || got.Object.Name != "bad" {
		t.Errorf("failure = %+v", got)
	}
	if text := failures.Error(); !strings.Contains(text, "Service/"+f.namespace+"/bad") || !strings.Contains(text, "must be between 1 and 65535") {
		t.Errorf("text = %q, want the object and the server's message", text)
	}
	var one *ObjectError
	if !errors.As(error(failures), &one) {
		t.Error("errors.As finds no ObjectError")
	}
	if result.Inventory.Len() != 3 {
		t.Errorf("inventory has %d objects, want those that were reached", result.Inventory.Len())
	}
}

func TestKinds(t *testing.T) {
	f := setUp(t, Config{})
	for name, tc := range map[string]struct {
		docs string
		want Kind
	}{
		"unknown field":        {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: NS}, dta: {}}", Invalid},
		"wrong type":           {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: NS}, data: {a: 1}}", Invalid},
		"wrong value":          {badService, Invalid},
		"bad name":             {"{apiVersion: v1, kind: ConfigMap, metadata: {name: A_b, namespace: NS}}", Invalid},
		"no namespace":         {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}", Invalid},
		"unknown namespace":    {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: NS-not}}", NotFound},
		"unknown kind":         {"{apiVersion: v1, kind: Comfig, metadata: {name: a, namespace: NS}}", UnknownKind},
		"unknown group":        {"{apiVersion: not.example.com/v1, kind: ConfigMap, metadata: {name: a, namespace: NS}}", UnknownKind},
		"unknown version":      {"{apiVersion: apps/v7, kind: Deployment, metadata: {name: a, namespace: NS}}", UnknownKind},
		"labels are no map":    {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: NS, labels: x}}", Invalid},
		"label is no text":     {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: NS, labels: {x: 1}}}", Invalid},
		"annotation no text":   {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: NS, annotations: {x: true}}}", Invalid},
		"metadata is no map":   {"{apiVersion: v1, kind: ConfigMap, metadata: x}", Invalid},
		"no metadata":          {"{apiVersion: v1, kind: ConfigMap}", Invalid},
		"twice":                {configMap("a", "1") + configMap("a", "2"), Invalid},
		"path for a name":      {"{apiVersion: v1, kind: ConfigMap, metadata: {name: ../secrets/x, namespace: NS}}", Invalid},
		"path for a namespace": {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: ../../v1/nodes}}", Invalid},
		"dots for a name":      {"{apiVersion: v1, kind: ConfigMap, metadata: {name: .., namespace: NS}}", Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			result, err := f.Apply(t.Context(), f.parse(tc.docs), f.options)
			if KindOf(err) != tc.want {
				t.Errorf("kind = %q, want %q: %v", KindOf(err), tc.want, err)
			}
			if len(result.Changes) != 0 {
				t.Errorf("changes = %v", result.Changes)
			}
		})
	}
}

// Whatever a renderer lets through must be refused here, not sent somewhere.
func TestIncompleteObjects(t *testing.T) {
	f := setUp(t, Config{})
	metadata := map[string]any{"name": "a", "namespace": f.namespace}
	for name, object := range map[string]map[string]any{
		"empty":         {},
		"nil":           nil,
		"no kind":       {"apiVersion": "v1", "metadata": metadata},
		"no apiVersion": {"kind": "ConfigMap", "metadata": metadata},
		"no version":    {"apiVersion": "apps/", "kind": "Deployment", "metadata": metadata},
		"numbers":       {"apiVersion": 1, "kind": 2, "metadata": metadata},
		"many slashes":  {"apiVersion": "a/b/c", "kind": "ConfigMap", "metadata": metadata},
		"no JSON":       {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": map[string]any{"a": math.NaN()}},
	} {
		_, err := f.Apply(t.Context(), []*unstructured.Unstructured{{Object: object}}, f.options)
		if KindOf(err) != Invalid {
			t.Errorf("%s: %s: %v", name, KindOf(err), err)
		}
	}
}

func TestForbidden(t *testing.T) {
	f := setUp(t, Config{})
	f.impersonate("nobody")
	_, failures := f.applyFails(configMap("a", "1"))
	if failures.Kind() != Forbidden || !strings.Contains(failures.Error(), `User "nobody" cannot`) {
		t.Errorf("%s: %v", failures.Kind(), failures)
	}
}

func TestTerminatingNamespace(t *testing.T) {
	f := setUp(t, Config{})
	f.apply("{apiVersion: v1, kind: Namespace, metadata: {name: NS-going}}")
	ns := f.parse("{apiVersion: v1, kind: Namespace, metadata: {name: NS-going}}")[0]
	f.kubectl("delete", ns) // There is no controller manager to finish it.
	_, failures := f.applyFails("{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: NS-going}}")
	if failures.Kind() != Conflict {
		t.Errorf("%s: %v", failures.Kind(), failures)
	}
}

func TestPanicIsAFailureOfOneObject(t *testing.T) {
	f := setUp(t, Config{Concurrency: 1})
	calls := 0
	f.options.Guard = func() error {
		if calls++; calls == 1 {
			panic("value of the object")
		}
		return nil
	}
	result, failures := f.applyFails(configMap("a", "1") + configMap("b", "1"))
	f.want(result.Changes, "ConfigMap/b created")
	if failures.Kind() != Internal || strings.Contains(failures.Error(), "value of the object") {
		t.Errorf("%s: %v", failures.Kind(), failures)
	}
}

func TestFailuresText(t *testing.T) {
	var f Failures
	for i := range 100 {
		id := inventory.ID{Namespace: "n", Name: fmt.Sprint("c", i), Kind: "ConfigMap"}
		f.Objects = append(f.Objects, failure(id, "apply", malformedf("%s", strings.Repeat("ü", 5000))))
	}
	for _, object := range f.Objects {
		if len(object.Message) > messageLimit || strings.ContainsRune(object.Message, '\uFFFD') {
			t.Fatalf("message of %d bytes: %q", len(object.Message), object.Message)
		}
	}
	text := f.Error()
	if len(text) > textLimit+100 || !strings.Contains(text, "more failures") || !strings.Contains(text, "ConfigMap/n/c0") {
		t.Errorf("text of %d bytes: %.100q … %q", len(text), text, text[len(text)-50:])
	}
}

func TestKindOf(t *testing.T) {
	many := &Failures{Objects: []*ObjectError{{Kind: Invalid}, {Kind: Forbidden}, {Kind: Unavailable}}}
	for name, tc := range map[string]struct {
		err  error
		want Kind
	}{
		"nil":      {nil, ""},
		"many":     {fmt.Errorf("sync: %w", many), Unavailable},
		"one":      {fmt.Errorf("sync: %w", &ObjectError{Kind: NotFound}), NotFound},
		"deadline": {context.DeadlineExceeded, Stopped},
		"other":    {errors.New("x"), Internal},
	} {
		if got := KindOf(tc.err); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

package apply

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

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

// However a Secret is refused, none of its values may show, whole or cut, encoded or not.
func TestSecretsAreMasked(t *testing.T) {
	const value = "hunter2secret"
	const encoded = "aHVudGVyMnNlY3JldA=="
	f := setUp(t, Config{})
	f.apply("{apiVersion: v1, kind: Secret, metadata: {name: fixed, namespace: NS}, immutable: true, data: {a: eA==}}")
	for name, spec := range map[string]string{
		"not base64":        "data: {a: " + value + "!}",
		"wrong type":        "data: {a: {b: " + value + "}}",
		"number":            "data: {a: 4815162342}",
		"list":              "data: [" + value + "]",
		"bad key":           "data: {'a b': " + encoded + "}",
		"stringData number": "stringData: {a: 4815162342}",
		"stringData map":    "stringData: {a: {b: " + value + "}}",
		"unknown field":     value + ": " + value,
		"wrong secret type": "type: kubernetes.io/dockerconfigjson, stringData: {.dockerconfigjson: " + value + "}",
		"long type":         "type: " + strings.Repeat(value, 500) + ", data: {a: " + encoded + "}",
		"immutable":         "immutable: true, data: {a: " + encoded + "}",
		"bad label":         "data: {a: " + encoded + "}, metadata: {name: fixed, namespace: NS, labels: {x: '" + value + " !'}}",
	} {
		t.Run(name, func(t *testing.T) {
			_, failures := f.applyFails("{apiVersion: v1, kind: Secret, metadata: {name: fixed, namespace: NS}, " + spec + "}")
			text := fmt.Sprintf("%v %+v %+v", failures, failures, *failures.Objects[0])
			for _, part := range []string{"hunter", "48151", "aHVudG"} {
				if strings.Contains(text, part) {
					t.Errorf("the value shows: %s", text)
				}
			}
			if !strings.Contains(text, "Secret/"+f.namespace+"/fixed") {
				t.Errorf("the object is not named: %s", text)
			}
			if failures.Kind() != Invalid {
				t.Errorf("kind = %s: %v", failures.Kind(), failures)
			}
		})
	}
}

// What does not depend on the values is shown.
func TestMaskedMessage(t *testing.T) {
	for name, tc := range map[string]struct {
		status metav1.Status
		want   string
	}{
		"forbidden": {metav1.Status{Reason: "Forbidden", Message: `secrets "s" is forbidden: User "system:serviceaccount:a:b" cannot patch resource "secrets" in API group "" in the namespace "n"`},
			`Forbidden: User "system:serviceaccount:a:b" cannot patch resource "secrets" in API group "" in the namespace "n" (details are not shown for a Secret)`},
		"denied": {metav1.Status{Code: 403, Message: `admission webhook "w.example.com" denied the request: value hunter2 is weak`},
			`Forbidden: admission webhook "w.example.com" denied the request (details are not shown for a Secret)`},
		"namespace": {metav1.Status{Reason: "NotFound", Code: 404, Details: &metav1.StatusDetails{Name: "n", Kind: "namespaces"}},
			`NotFound: namespaces "n" not found (details are not shown for a Secret)`},
		"field": {metav1.Status{Reason: "Invalid", Code: 422, Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{
			{Field: "data[.dockerconfigjson]", Type: "FieldValueInvalid", Message: `Invalid value: "hunter2"`}, {Field: `x: "hunter2"`, Type: "FieldValueInvalid"}}}},
			`Invalid: data[.dockerconfigjson]: FieldValueInvalid (details are not shown for a Secret)`},
		"nothing": {metav1.Status{}, "refused (details are not shown for a Secret)"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, maskedMessage(tc.status)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestGuardStops(t *testing.T) {
	f := setUp(t, Config{Concurrency: 1})
	lost := errors.New("lock lost")
	var calls atomic.Int32
	f.options.Guard = func() error {
		if calls.Add(1) == 3 {
			return lost
		}
		return nil
	}
	docs := ""
	for i := range 10 {
		docs += configMap(fmt.Sprint("c", i), "1")
	}
	result, err := f.Apply(t.Context(), f.parse(docs), f.options)
	if !errors.Is(err, lost) || KindOf(err) != Stopped {
		t.Errorf("error = %v (%s)", err, KindOf(err))
	}
	if len(result.Changes) != 2 || calls.Load() != 3 || result.Inventory.Len() != 3 {
		t.Errorf("%d changes, %d calls, %d in the inventory; want 2, 3, 3", len(result.Changes), calls.Load(), result.Inventory.Len())
	}
	if f.exists(f.parse(configMap("c2", "1"))[0]) {
		t.Error("the guarded patch was sent")
	}
}

// Taking fields over and replacing an object are effects too.
func TestGuardIsBeforeEveryEffect(t *testing.T) {
	f := setUp(t, Config{})
	f.kubectl("create", f.parse(configMap("a", "1"))[0])
	var calls atomic.Int32
	f.options.Guard = func() error { calls.Add(1); return nil }
	f.apply(configMap("a", "1"))
	if calls.Load() != 2 {
		t.Errorf("%d calls, want one for the takeover and one for the apply", calls.Load())
	}
}

func TestContextStops(t *testing.T) {
	f := setUp(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := f.Apply(ctx, f.parse(configMap("a", "1")), f.options)
	if !errors.Is(err, context.Canceled) || KindOf(err) != Stopped {
		t.Errorf("error = %v (%s)", err, KindOf(err))
	}
}

// fake is an engine for a server that answers as told.
func fake(t *testing.T, serve http.HandlerFunc) *Engine {
	server := httptest.NewServer(serve)
	t.Cleanup(server.Close)
	e, err := New(&rest.Config{Host: server.URL}, Config{})
	if err != nil {
		t.Fatal(err)
	}
	e.kinds.known, e.kinds.served = readKinds(nil, []*metav1.APIResourceList{{
		GroupVersion: "v1", APIResources: []metav1.APIResource{{Name: "configmaps", Kind: "ConfigMap", Namespaced: true}}}})
	return e
}

func TestThrottledAndBroken(t *testing.T) {
	for name, tc := range map[string]struct {
		code       int
		header     string
		want       Kind
		retryAfter string
	}{
		"too many requests": {http.StatusTooManyRequests, "7", Unavailable, "7s"},
		"unavailable":       {http.StatusServiceUnavailable, "3", Unavailable, "3s"},
		"gateway timeout":   {http.StatusGatewayTimeout, "", Unavailable, "0s"},
		"internal error":    {http.StatusInternalServerError, "", Unavailable, "0s"},
		"unauthorized":      {http.StatusUnauthorized, "", Forbidden, "0s"},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int32
			f := &fixture{TB: t, namespace: "some"}
			f.Engine = fake(t, func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				if tc.header != "" {
					w.Header().Set("Retry-After", tc.header)
				}
				w.WriteHeader(tc.code)
			})
			_, failures := f.applyFails(configMap("a", "1"))
			if failures.Kind() != tc.want || failures.RetryAfter().String() != tc.retryAfter {
				t.Errorf("kind %q, retry after %s: %v", failures.Kind(), failures.RetryAfter(), failures)
			}
			if requests.Load() != 1 {
				t.Errorf("%d requests, want no retry here", requests.Load())
			}
		})
	}
}

// An answer that is no Kubernetes answer is an error, not an object.
func TestNonsenseAnswer(t *testing.T) {
	f := &fixture{TB: t, namespace: "some"}
	f.Engine = fake(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>Welcome</html>") })
	_, failures := f.applyFails(configMap("a", "1"))
	if failures.Kind() == Invalid {
		t.Errorf("kind = %q: %v", failures.Kind(), failures)
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

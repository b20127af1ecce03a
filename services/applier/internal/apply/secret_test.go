package apply

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

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

package apply

import (
	"strings"
	"testing"
	"time"
)

// fixedMap is a ConfigMap that cannot be changed.
func fixedMap(value string, metadata ...string) string {
	return strings.Replace(configMap("a", value, metadata...), ", data:", ", immutable: true, data:", 1)
}

func TestImmutableWithoutForce(t *testing.T) {
	f := setUp(t, Config{})
	f.apply(fixedMap("1"))
	_, failures := f.applyFails(fixedMap("2"))
	if failures.Kind() != Invalid || !strings.Contains(failures.Error(), "immutable") {
		t.Errorf("%s: %v", failures.Kind(), failures)
	}
	if got := f.text(f.parse(fixedMap("1"))[0], "data", "key"); got != "1" {
		t.Errorf("value = %q, want it left alone", got)
	}
}

func TestImmutableWithForce(t *testing.T) {
	f := setUp(t, Config{})
	f.apply(fixedMap("1"))
	f.options.Force = true
	result := f.apply(fixedMap("2"))
	f.want(result.Changes, "ConfigMap/a created")
	if !strings.Contains(result.Changes[0].Note, "immutable") {
		t.Errorf("note = %q, want the reason", result.Changes[0].Note)
	}
	if got := f.text(f.parse(fixedMap("1"))[0], "data", "key"); got != "2" {
		t.Errorf("value = %q", got)
	}
}

func TestForceAnnotation(t *testing.T) {
	for name, tc := range map[string]struct{ before, after string }{
		"in-git":         {fixedMap("1"), fixedMap("2", annotated(annotationForce, "Enabled"))},
		"in-the-cluster": {fixedMap("1", annotated(annotationForce, "Enabled")), fixedMap("2")},
	} {
		t.Run(name, func(t *testing.T) {
			f := setUp(t, Config{})
			f.apply(tc.before)
			f.want(f.apply(tc.after).Changes, "ConfigMap/a created")
		})
	}
}

// A selector cannot change either, and the server's text for it does not always say immutable.
func TestForceOfAWorkload(t *testing.T) {
	f := setUp(t, Config{})
	docs := "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, namespace: NS}, spec: {serviceName: one, selector: {matchLabels: {a: b}}," +
		" template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: 'i:1'}]}}}}"
	f.apply(docs)
	f.options.Force = true
	f.want(f.apply(strings.Replace(docs, "one", "two", 1)).Changes, "StatefulSet/db created")
}

// What is wrong in itself must not be deleted: it could not be created again.
func TestForceDoesNotDeleteWhatCannotBeCreated(t *testing.T) {
	f := setUp(t, Config{})
	good := "{apiVersion: v1, kind: Service, metadata: {name: s, namespace: NS}, spec: {ports: [{port: 80}]}}"
	f.apply(good)
	before := f.kubectl("get", f.parse(good)[0]).GetUID()
	f.options.Force = true
	_, failures := f.applyFails(strings.Replace(good, "80", "99999999", 1))
	if failures.Kind() != Invalid {
		t.Errorf("%s: %v", failures.Kind(), failures)
	}
	if f.kubectl("get", f.parse(good)[0]).GetUID() != before {
		t.Error("it was deleted")
	}
}

// A predecessor with a finalizer takes its time: that is no error, and is not waited for.
func TestForceWaitsForFinalizers(t *testing.T) {
	f := setUp(t, Config{WaitTimeout: 50 * time.Millisecond})
	f.apply(fixedMap("1", "finalizers: [example.com/wait]"))
	f.options.Force = true
	for range 2 { // The second run finds it terminating.
		result := f.apply(fixedMap("2"))
		if len(result.Pending) != 1 || !strings.Contains(result.Pending[0].Reason, "being deleted") {
			t.Fatalf("pending = %+v, changes %v", result.Pending, result.Changes)
		}
	}
	f.patch(f.parse(fixedMap("1"))[0], "x", `{"metadata":{"finalizers":null}}`)
	f.want(f.apply(fixedMap("2")).Changes, "ConfigMap/a created")
}

func TestForceShowsNoSecret(t *testing.T) {
	f := setUp(t, Config{})
	secret := "{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: NS}, immutable: true, stringData: {a: hunter2}}"
	f.apply(secret)
	f.options.Force = true
	result := f.apply(strings.Replace(secret, "hunter2", "hunter3", 1))
	f.want(result.Changes, "Secret/s created")
	if strings.Contains(result.Changes[0].Note, "hunter") {
		t.Error(result.Changes[0].Note)
	}
}

func TestImmutableText(t *testing.T) {
	for text, want := range map[string]bool{
		"spec.selector: Invalid value: x: field is immutable":                         true,
		"spec.clusterIPs[0]: Invalid value: may not change once set":                  true,
		"roleRef: Invalid value: x: cannot change roleRef":                            true,
		"admission webhook \"x\" denied the request: name is an immutable field":      true,
		"spec.ports[0].port: Invalid value: 9: must be between 1 and 65535":           false,
		"metadata.name: Invalid value: \"A\": a lowercase RFC 1123 name must consist": false,
	} {
		if got := isImmutableText(text); got != want {
			t.Errorf("isImmutableText(%q) = %v", text, got)
		}
	}
}

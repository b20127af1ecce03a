package apply

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/google/go-cmp/cmp"
)

func TestActions(t *testing.T) {
	f := setUp(t, Config{})
	result := f.apply(configMap("a", "1") + configMap("b", "1"))
	f.want(result.Changes, "ConfigMap/a created", "ConfigMap/b created")
	if got := result.Inventory.ToStatus().Entries[0].ID; got != f.namespace+"_a__ConfigMap" {
		t.Errorf("inventory id = %q", got)
	}
	f.want(f.apply(configMap("a", "1")+configMap("b", "1")).Changes, "ConfigMap/a unchanged", "ConfigMap/b unchanged")
	f.want(f.apply(configMap("a", "1")+configMap("b", "2")).Changes, "ConfigMap/a unchanged", "ConfigMap/b configured")
}

// A new engine remembers nothing, and must tell the same.
func TestActionsAfterRestart(t *testing.T) {
	f := setUp(t, Config{})
	f.apply(configMap("a", "1") + configMap("b", "1"))
	f.restart(Config{})
	f.want(f.apply(configMap("a", "1")+configMap("b", "2")+configMap("c", "1")).Changes,
		"ConfigMap/a unchanged", "ConfigMap/b configured", "ConfigMap/c created")
}

func (f *fixture) restart(config Config) {
	f.Helper()
	var err error
	if f.Engine, err = New(f.config, config); err != nil {
		f.Fatal(err)
	}
}

// What others do to an object between two runs is no change of ours.
func TestUnchangedThoughOthersWrite(t *testing.T) {
	f := setUp(t, Config{})
	docs := configMap("a", "1")
	f.apply(docs)
	for range 3 {
		f.patch(f.parse(docs)[0], "autoscaler", `{"data":{"other":"x"}}`)
		f.want(f.apply(docs).Changes, "ConfigMap/a unchanged")
		f.patch(f.parse(docs)[0], "autoscaler", `{"data":{"other":null}}`)
		f.want(f.apply(docs).Changes, "ConfigMap/a unchanged")
	}
}

// An object that others write all the time is applied in the end, without precondition.
func TestRestlessObject(t *testing.T) {
	f := setUp(t, Config{})
	docs := configMap("a", "1")
	f.apply(docs)
	f.options.Guard = func() error { // Called right before each patch.
		f.patch(f.parse(docs)[0], "autoscaler", `{"data":{"at":"`+rand.Text()+`"}}`)
		return nil
	}
	f.want(f.apply(configMap("a", "2")).Changes, "ConfigMap/a configured")
}

func TestJudge(t *testing.T) {
	old, now := time.Now().Add(-time.Minute), time.Now()
	for name, tc := range map[string]struct {
		code          int
		tries         int
		taken         bool
		before, after *Seen
		want          Action
	}{
		"new":                 {201, 1, false, nil, &Seen{ResourceVersion: "1"}, Created},
		"appeared meanwhile":  {200, 1, false, nil, &Seen{ResourceVersion: "2"}, Configured},
		"same version":        {200, 1, false, &Seen{ResourceVersion: "1"}, &Seen{ResourceVersion: "1"}, Unchanged},
		"new version":         {200, 1, false, &Seen{ResourceVersion: "1", OwnTime: old}, &Seen{ResourceVersion: "2", OwnTime: old}, Configured},
		"fields taken over":   {200, 1, true, &Seen{ResourceVersion: "1"}, &Seen{ResourceVersion: "1"}, Configured},
		"last try, untouched": {200, maxTries, false, &Seen{ResourceVersion: "1", OwnTime: old}, &Seen{ResourceVersion: "2", OwnTime: old}, Unchanged},
		"last try, later":     {200, maxTries, false, &Seen{ResourceVersion: "1", OwnTime: old}, &Seen{ResourceVersion: "2", OwnTime: now}, Configured},
		"last try, fields": {200, maxTries, false, &Seen{ResourceVersion: "1", OwnTime: old, OwnFields: "a"},
			&Seen{ResourceVersion: "2", OwnTime: old, OwnFields: "b"}, Configured},
		"last try, same second": {200, maxTries, false, &Seen{ResourceVersion: "1", OwnTime: now}, &Seen{ResourceVersion: "2", OwnTime: now}, Configured},
	} {
		t.Run(name, func(t *testing.T) {
			a := &attempt{tries: tc.tries, changed: tc.taken, live: tc.after}
			if got := a.judge(tc.code, tc.before); got != tc.want {
				t.Errorf("judge = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestDriftIsUndone(t *testing.T) {
	f := setUp(t, Config{})
	docs := configMap("a", "1")
	f.apply(docs)
	f.patch(f.parse(docs)[0], "somebody", `{"data":{"key":"2"}}`)
	f.want(f.apply(docs).Changes, "ConfigMap/a configured")
	if got := f.text(f.parse(docs)[0], "data", "key"); got != "1" {
		t.Errorf("value = %q, want what is in Git", got)
	}
}

func TestDeletedObjectIsCreatedAgain(t *testing.T) {
	f := setUp(t, Config{})
	docs := configMap("a", "1")
	f.apply(docs)
	f.kubectl("delete", f.parse(docs)[0])
	f.want(f.apply(docs).Changes, "ConfigMap/a created")
}

func TestRemovedFieldGoesAway(t *testing.T) {
	f := setUp(t, Config{})
	f.apply(configMap("a", "1", "labels: {x: w}"))
	f.apply(configMap("a", "1"))
	if labels := f.kubectl("get", f.parse(configMap("a", "1"))[0]).GetLabels(); labels["x"] != "" {
		t.Errorf("labels = %v, want x to be gone", labels)
	}
}

func TestWhatIsSent(t *testing.T) {
	f := setUp(t, Config{})
	docs := `
apiVersion: v1
kind: ConfigMap
metadata:
  name: a
  namespace: NS
  creationTimestamp: null
  resourceVersion: "123"
  uid: 1b4e28ba-2fa1-11d2-883f-0016d3cca427
  generation: 7
  managedFields: [{manager: x, operation: Apply}]
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: "{}"
    keep: this
data: {key: "1"}
status: {some: thing}
`
	set := f.parse(docs)
	before := set[0].DeepCopy()
	if _, err := f.Engine.Apply(t.Context(), set, f.options); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before.Object, set[0].Object); diff != "" {
		t.Errorf("the set was changed:\n%s", diff)
	}
	live := f.kubectl("get", set[0])
	if diff := cmp.Diff(map[string]string{"keep": "this"}, live.GetAnnotations()); diff != "" {
		t.Errorf("annotations:\n%s", diff)
	}
	want := map[string]string{labelOwnerName: "app", labelOwnerNamespace: f.namespace}
	if diff := cmp.Diff(want, live.GetLabels()); diff != "" {
		t.Errorf("labels:\n%s", diff)
	}
	if managers := managersOf(live); !cmp.Equal(managers, []string{"sluice/Apply"}) {
		t.Errorf("managers = %v", managers)
	}
}

func managersOf(u *unstructured.Unstructured) []string {
	var managers []string
	for _, entry := range u.GetManagedFields() {
		managers = append(managers, entry.Manager+"/"+string(entry.Operation))
	}
	return managers
}

// Namespaces and what lives in them come in one set, in any order.
func TestNamespaceInTheSet(t *testing.T) {
	f := setUp(t, Config{})
	docs := `
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: NS-own}, spec: {selector: {matchLabels: {a: b}},
 template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: "i:1", ports: [{containerPort: 80}]}]}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: NS-own}, spec: {selector: {a: b}, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: NS-own}}
`
	result := f.apply(docs)
	var got []string
	for _, c := range result.Changes {
		got = append(got, c.String())
	}
	ns := f.namespace + "-own"
	want := []string{"Namespace/" + ns + " created", "Service/" + ns + "/web created", "Deployment/" + ns + "/web created"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, c := range f.apply(docs).Changes {
		if c.Action != Unchanged {
			t.Error(c)
		}
	}
}

// A kind outside of namespaces may be written with one; it is known without it from then on.
func TestNamespaceOfClusterScopedKindIsDropped(t *testing.T) {
	f := setUp(t, Config{})
	result := f.apply("{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: 'NS:role', namespace: NS}, rules: []}")
	want := "_" + f.namespace + "__role_rbac.authorization.k8s.io_ClusterRole"
	if got := result.Inventory.ToStatus().Entries[0].ID; got != want {
		t.Errorf("id = %q, want %q", got, want)
	}
}

func TestSecretStringData(t *testing.T) {
	f := setUp(t, Config{})
	secret := "{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: NS}, data: {a: eA==}, stringData: {STR}}"
	f.apply(strings.Replace(secret, "STR", "b: v, c: w", 1))
	f.apply(strings.Replace(secret, "STR", "b: v", 1))
	live := f.kubectl("get", f.parse(secret[:strings.Index(secret, ", data")] + "}")[0])
	data, _, _ := unstructured.NestedStringMap(live.Object, "data")
	if diff := cmp.Diff(map[string]string{"a": "eA==", "b": "dg=="}, data); diff != "" {
		t.Errorf("data (a key taken out of Git must go):\n%s", diff)
	}
	if fields := live.GetManagedFields()[0].FieldsV1.GetRawString(); strings.Contains(fields, "stringData") {
		t.Errorf("we own %s", fields)
	}
}

func TestSeen(t *testing.T) {
	f := setUp(t, Config{})
	docs := configMap("a", "1")
	first := f.apply(docs).Changes[0].Seen
	if first.UID == "" || first.ResourceVersion == "" || first.Digest == "" || first.OwnFields == "" || first.OwnTime.IsZero() {
		t.Errorf("seen = %+v, want all of it", first)
	}
	f.patch(f.parse(docs)[0], "autoscaler", `{"metadata":{"annotations":{"x":"y"}}}`)
	if again := f.apply(docs).Changes[0].Seen; again.OwnFields != first.OwnFields || again.Digest != first.Digest {
		t.Errorf("a foreign annotation changed what is ours: %+v, then %+v", first, again)
	}
	f.restart(Config{})
	if again := f.apply(docs).Changes[0].Seen; again.OwnFields != first.OwnFields || !again.OwnTime.Equal(first.OwnTime) {
		t.Errorf("a restart changed what is ours: %+v, then %+v", first, again)
	}
}

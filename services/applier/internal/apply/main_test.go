package apply

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/sluice-cd/sluice/libs/controlplane"
	"github.com/sluice-cd/sluice/libs/controlplane/controlplanetest"
	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

// cluster is the API server that all tests share. Each test has a namespace of its own in it.
var cluster *controlplane.ControlPlane

func TestMain(m *testing.M) {
	os.Exit(controlplanetest.Run(m, controlplane.Options{}, func(c *controlplane.ControlPlane) { cluster = c }))
}

// fixture is an engine and a namespace of the cluster.
type fixture struct {
	testing.TB
	*Engine
	namespace string
	options   Options
	config    *rest.Config
	dynamic   dynamic.Interface
}

func setUp(t testing.TB, config Config) *fixture {
	t.Helper()
	f := &fixture{TB: t, config: cluster.RESTConfig(), namespace: "test-" + strings.ToLower(rand.Text()[:10])}
	f.config.QPS = -1
	f.options = Options{Owner: Owner{Name: "app", Namespace: f.namespace}}
	var err error
	if f.Engine, err = New(f.config, config); err != nil {
		t.Fatal(err)
	}
	if f.dynamic, err = dynamic.NewForConfig(f.config); err != nil {
		t.Fatal(err)
	}
	namespace := f.parse("{apiVersion: v1, kind: Namespace, metadata: {name: NS}}")[0]
	f.kubectl("create", namespace)
	t.Cleanup(func() { f.kubectl("delete", namespace) })
	t.Cleanup(f.deleteDefinitions)
	return f
}

// deleteDefinitions deletes the definitions that a test made and waits until they are gone, so that
// the next test finds none.
func (f *fixture) deleteDefinitions() {
	ctx, end := context.WithTimeout(context.Background(), 20*time.Second)
	defer end()
	definitions := f.dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	for length, more := firstPause, true; more; {
		list, err := definitions.List(ctx, metav1.ListOptions{})
		if err != nil {
			f.Fatal(err)
		}
		left := 0
		for _, item := range list.Items {
			if strings.HasSuffix(item.GetName(), ".test.sluice.dev") {
				left++
				_ = definitions.Delete(ctx, item.GetName(), metav1.DeleteOptions{}) // It may just have gone; the list tells.
			}
		}
		if left == 0 {
			return
		}
		length, more = pause(ctx, length, time.Now().Add(time.Minute))
	}
	f.Error("the definitions do not go away")
}

// parse reads objects from YAML documents, in which NS stands for the test's namespace.
func (f *fixture) parse(docs string) []*unstructured.Unstructured {
	f.Helper()
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(strings.ReplaceAll(docs, "NS", f.namespace)), 4096)
	for {
		u := &unstructured.Unstructured{}
		if err := decoder.Decode(u); errors.Is(err, io.EOF) {
			return objects
		} else if err != nil {
			f.Fatal(err)
		}
		if u.Object != nil {
			objects = append(objects, u)
		}
	}
}

// apply applies and wants no error.
func (f *fixture) apply(docs string) *Result {
	f.Helper()
	result, err := f.Engine.Apply(f.Context(), f.parse(docs), f.options)
	if err != nil {
		f.Fatal(err)
	}
	return result
}

// applyFails applies and wants failures.
func (f *fixture) applyFails(docs string) (*Result, *Failures) {
	f.Helper()
	result, err := f.Engine.Apply(f.Context(), f.parse(docs), f.options)
	var failures *Failures
	if !errors.As(err, &failures) {
		f.Fatalf("error = %v, want failures", err)
	}
	return result, failures
}

// prune prunes what is in old and not in new, and wants no error.
func (f *fixture) prune(old, new inventory.Inventory) *PruneResult {
	f.Helper()
	result, err := f.Engine.Prune(f.Context(), old, new, f.options)
	if err != nil {
		f.Fatal(err)
	}
	return result
}

// want compares changes, written as "Kind/name action" with the namespace left out.
func (f *fixture) want(changes []Change, want ...string) {
	f.Helper()
	var got []string
	for _, c := range changes {
		got = append(got, strings.ReplaceAll(c.String(), "/"+f.namespace+"/", "/"))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("changes (-want +got):\n%s", diff)
	}
}

// client returns a client for the kind of u that has nothing to do with the engine.
func (f *fixture) client(u *unstructured.Unstructured) dynamic.ResourceInterface {
	gvk := u.GroupVersionKind()
	plural := map[string]string{"NetworkPolicy": "networkpolicies", "StorageClass": "storageclasses"}[gvk.Kind]
	if gvk.Group == "test.sluice.dev" {
		plural = strings.ToLower(gvk.Kind)
	} else if plural == "" {
		plural = strings.ToLower(gvk.Kind) + "s"
	}
	resource := f.dynamic.Resource(schema.GroupVersionResource{Group: gvk.Group, Version: gvk.Version, Resource: plural})
	if u.GetNamespace() == "" {
		return resource
	}
	return resource.Namespace(u.GetNamespace())
}

// kubectl does what another tool would, under the manager kubectl-<verb>.
func (f *fixture) kubectl(verb string, u *unstructured.Unstructured) *unstructured.Unstructured {
	f.Helper()
	var got *unstructured.Unstructured
	var err error
	ctx := context.Background()
	switch verb {
	case "create":
		got, err = f.client(u).Create(ctx, u, metav1.CreateOptions{FieldManager: "kubectl-create"})
	case "get":
		got, err = f.client(u).Get(ctx, u.GetName(), metav1.GetOptions{})
	case "delete":
		err = f.client(u).Delete(ctx, u.GetName(), metav1.DeleteOptions{})
	default:
		err = fmt.Errorf("no verb %q", verb)
	}
	if err != nil {
		f.Fatalf("%s %s: %v", verb, u.GetName(), err)
	}
	return got
}

// patch merges a patch into an object, as the named manager.
func (f *fixture) patch(u *unstructured.Unstructured, manager, patch string) *unstructured.Unstructured {
	f.Helper()
	got, err := f.client(u).Patch(context.Background(), u.GetName(), types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: manager})
	if err != nil {
		f.Fatalf("patch %s: %v", u.GetName(), err)
	}
	return got
}

// exists reports whether the object is in the cluster and not on its way out.
func (f *fixture) exists(u *unstructured.Unstructured) bool {
	got, err := f.client(u).Get(context.Background(), u.GetName(), metav1.GetOptions{})
	return err == nil && got.GetDeletionTimestamp() == nil
}

// text returns a text field of the object in the cluster.
func (f *fixture) text(u *unstructured.Unstructured, fields ...string) string {
	f.Helper()
	text, _, err := unstructured.NestedString(f.kubectl("get", u).Object, fields...)
	if err != nil {
		f.Fatal(err)
	}
	return text
}

// configMap returns a ConfigMap with one value, and more metadata if given.
func configMap(name, value string, metadata ...string) string {
	return fmt.Sprintf("---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: %s, namespace: NS%s}, data: {key: %q}}\n",
		name, strings.Join(append([]string{""}, metadata...), ", "), value)
}

// impersonate makes the engine act as another user from now on.
func (f *fixture) impersonate(user string) {
	f.Helper()
	config := rest.CopyConfig(f.config)
	config.Impersonate.UserName = user
	var err error
	if f.Engine, err = New(config, Config{}); err != nil {
		f.Fatal(err)
	}
}

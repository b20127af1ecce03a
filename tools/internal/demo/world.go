package demo

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// ref names an object of the cluster.
type ref struct{ kind, namespace, name string }

func (r ref) String() string { return fmt.Sprintf("%s %s/%s", r.kind, r.namespace, r.name) }

func refOf(o *unstructured.Unstructured) ref { return ref{o.GetKind(), o.GetNamespace(), o.GetName()} }

// world is what the watches have told so far.
type world struct {
	objects map[ref]*unstructured.Unstructured
	digests map[ref][sha256.Size]byte
}

func newWorld() *world {
	return &world{objects: map[ref]*unstructured.Unstructured{}, digests: map[ref][sha256.Size]byte{}}
}

// take takes in what a watch told and says what it means for the object: created, configured, deleted, or nothing where only
// metadata or status is another.
func (w *world) take(o *unstructured.Unstructured, deleted bool) (action string) {
	r := refOf(o)
	before, known := w.digests[r]
	if deleted {
		delete(w.objects, r)
		delete(w.digests, r)
		return "deleted"
	}
	now := digest(o)
	w.objects[r], w.digests[r] = o, now
	switch {
	case !known:
		return "created"
	case before != now:
		return "configured"
	}
	return ""
}

// digest is of all that somebody asks of the object.
func digest(o *unstructured.Unstructured) [sha256.Size]byte {
	asked := make(map[string]any, len(o.Object))
	for name, value := range o.Object {
		if name != "metadata" && name != "status" {
			asked[name] = value
		}
	}
	text, err := json.Marshal(asked) // in the order of keys
	if err != nil {
		panic(fmt.Sprintf("an object of the API server is no JSON: %v", err))
	}
	return sha256.Sum256(text)
}

// apps are the Kustomizations by name.
func (w *world) apps() map[string]*unstructured.Unstructured {
	found := map[string]*unstructured.Unstructured{}
	for r, o := range w.objects {
		if r.kind == "Kustomization" {
			found[r.name] = o
		}
	}
	return found
}

// appNamespaces are the namespaces of what the applications have in the cluster.
func (w *world) appNamespaces() []string {
	found := map[string]bool{}
	for r := range w.objects {
		found[r.namespace] = true
	}
	delete(found, namespace)
	return slices.Sorted(maps.Keys(found))
}

// isReady says whether all of so many applications are ready, and how many objects they have.
func (w *world) isReady(count int) (objects int, all bool) {
	apps := w.apps()
	for _, app := range apps {
		if readyOf(app).status != "True" {
			return 0, false
		}
		entries, _, _ := unstructured.NestedSlice(app.Object, "status", "inventory", "entries")
		objects += len(entries)
	}
	return objects, len(apps) == count
}

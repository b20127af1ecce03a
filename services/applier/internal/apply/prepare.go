package apply

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

// desired is one object as it is to be in the cluster.
type desired struct {
	id  inventory.ID
	gvk schema.GroupVersionKind
	// object is what is sent. Its top level and its metadata are our own copy.
	object   map[string]any
	metadata map[string]any
	digest   string
	policy   policy
	// ignored are the pointers to the fields that are left to others once the object is there.
	ignored []pointer
	// settled says that the object is known to be as it was last applied.
	settled bool
	// at is where the object lives, and missing is why that is not known.
	at      target
	missing error
	// definition is the CRD of the same set that the object is an instance of, or nil.
	definition *definition
	// defines is set if the object is such a CRD.
	defines *definition
}

// setByServer are the fields of metadata that only the API server sets.
var setByServer = []string{
	"creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp",
	"generation", "managedFields", "resourceVersion", "selfLink", "uid",
}

// prepare checks an object of a rendered set and makes what will be sent, without status, without
// what only the API server sets, and with the owner's labels. The error is an *ObjectError.
func prepare(u *unstructured.Unstructured, o Options) (*desired, error) {
	id := inventory.Of(u)
	d := &desired{id: id, gvk: u.GroupVersionKind()}
	if err := d.copy(u, o); err != nil {
		return nil, failure(id, "read", err)
	}
	return d, nil
}

func (d *desired) copy(u *unstructured.Unstructured, o Options) error {
	if err := checkNames(d.gvk, d.id); err != nil {
		return err
	}
	metadata, ok := u.Object["metadata"].(map[string]any)
	if !ok {
		return malformedf("metadata is not a map")
	}
	labels, err := texts(metadata, "labels")
	if err != nil {
		return err
	}
	annotations, err := texts(metadata, "annotations")
	if err != nil {
		return err
	}
	d.policy = policyOf(labels, annotations)
	d.object, d.metadata = maps.Clone(u.Object), maps.Clone(metadata)
	d.object["metadata"] = d.metadata
	d.clean(labels, annotations, o.Owner)
	d.ignored = ignoredIn(o.Ignore, d.id, d.gvk.Version, labels, annotations)
	return d.sum()
}

// checkNames refuses names that would lead to another place of the API.
func checkNames(gvk schema.GroupVersionKind, id inventory.ID) error {
	if gvk.Kind == "" || gvk.Version == "" {
		return malformedf("apiVersion or kind is missing")
	}
	if id.Name == "" {
		return malformedf("metadata.name is missing")
	}
	if problems := content.IsPathSegmentName(id.Name); len(problems) > 0 {
		return malformedf("metadata.name %s", strings.Join(problems, ", "))
	}
	if problems := content.IsPathSegmentName(id.Namespace); len(problems) > 0 {
		return malformedf("metadata.namespace %s", strings.Join(problems, ", "))
	}
	return nil
}

// texts returns a field of metadata that maps texts to texts. The values of other fields are not
// quoted in the error.
func texts(metadata map[string]any, field string) (map[string]string, error) {
	value, ok := metadata[field]
	if !ok || value == nil {
		return nil, nil
	}
	m, ok := value.(map[string]any)
	if !ok {
		return nil, malformedf("metadata.%s is not a map", field)
	}
	out := make(map[string]string, len(m))
	for key, value := range m {
		text, ok := value.(string)
		if !ok {
			return nil, malformedf("metadata.%s[%q] is not a string", field, key)
		}
		out[key] = text
	}
	return out, nil
}

func (d *desired) clean(labels, annotations map[string]string, owner Owner) {
	delete(d.object, "status")
	for _, field := range setByServer {
		delete(d.metadata, field)
	}
	delete(annotations, corev1.LastAppliedConfigAnnotation)
	setTexts(d.metadata, "annotations", annotations)
	setTexts(d.metadata, "labels", owner.mark(labels))
	switch {
	case isSecret(d.id):
		d.foldStringData()
	case isCRD(d.gvk):
		d.dropBadBundle()
	}
}

func setTexts(metadata map[string]any, field string, m map[string]string) {
	if len(m) == 0 {
		delete(metadata, field)
		return
	}
	out := make(map[string]any, len(m))
	for key, value := range m {
		out[key] = value
	}
	metadata[field] = out
}

// sum digests what is sent but for the fields that are left to others: those are no reason to send it.
func (d *desired) sum() error {
	object := d.object
	if len(d.ignored) > 0 {
		object = deepCopy(object)
		for _, p := range d.ignored {
			p.remove(object)
		}
	}
	body, err := json.Marshal(object)
	if err != nil {
		return malformedf("cannot be written as JSON (%T)", err)
	}
	sum := sha256.Sum256(body)
	d.digest = hex.EncodeToString(sum[:])
	return nil
}

// body returns what to send, with a resourceVersion as precondition unless that is empty.
func (d *desired) body(resourceVersion string) ([]byte, error) {
	delete(d.metadata, "resourceVersion")
	if resourceVersion != "" {
		d.metadata["resourceVersion"] = resourceVersion
	}
	return json.Marshal(d.object)
}

// bodyOver returns what to send to an object of which some fields are left to others.
func (a *attempt) bodyOver(resourceVersion string) ([]byte, error) {
	object := a.adopt()
	metadata, ok := object["metadata"].(map[string]any)
	if !ok {
		return nil, malformedf("metadata is not a map")
	}
	metadata["resourceVersion"] = resourceVersion
	return json.Marshal(object)
}

// settle sets where the object lives.
func (d *desired) settle(res resource) error {
	if !res.namespaced {
		d.id.Namespace = ""
		delete(d.metadata, "namespace")
	} else if d.id.Namespace == "" {
		return malformedf("metadata.namespace is missing")
	}
	d.at = target{resource: res, namespace: d.id.Namespace, name: d.id.Name}
	return nil
}

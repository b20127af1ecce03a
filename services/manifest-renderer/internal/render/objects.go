package render

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/resource"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/substitute"
)

// The labels that say which Kustomization an object belongs to.
const (
	ownerName      = "kustomize.toolkit.fluxcd.io/name"
	ownerNamespace = "kustomize.toolkit.fluxcd.io/namespace"
)

// decryptKey is the annotation that keeps an encrypted Secret from being refused.
const decryptKey = "kustomize.toolkit.fluxcd.io/decrypt"

// finish turns built resources into the result: variables replaced, metadata
// set, sorted, written.
func (b *build) finish(resources []*resource.Resource) (*Result, error) {
	if n := len(resources); n > b.limits.Objects {
		return nil, failed("%d objects, at most %d are allowed", n, b.limits.Objects)
	}
	objects := make([]*unstructured.Unstructured, 0, len(resources))
	for _, r := range resources {
		o, err := b.object(r)
		if err != nil {
			return nil, b.at(r, err)
		}
		if o != nil {
			objects = append(objects, o)
		}
	}
	slices.SortStableFunc(objects, compare)
	if err := unique(objects); err != nil {
		return nil, err
	}
	return b.write(objects)
}

// object is one resource as the cluster shall have it, or nil for a resource
// that is only meant for kustomize.
func (b *build) object(r *resource.Resource) (*unstructured.Unstructured, error) {
	if r.GetApiVersion() == "" {
		return nil, failed("apiVersion is missing")
	}
	fields, err := fieldsOf(r)
	if err != nil {
		return nil, err
	}
	if fields, err = b.openObject(fields); err != nil {
		return nil, err
	}
	if b.substitutes(r) {
		if fields, err = b.substitute(fields); err != nil {
			return nil, err
		}
	}
	o := &unstructured.Unstructured{Object: fields}
	if strings.EqualFold(o.GetKind(), "kustomization") && strings.HasPrefix(o.GetAPIVersion(), "kustomize.config.k8s.io/") {
		return nil, nil
	}
	if err := checkObject(o); err != nil {
		return nil, err
	}
	b.setMetadata(o)
	return o, nil
}

func (b *build) substitutes(r *resource.Resource) bool {
	p := b.spec.PostBuild
	if p == nil || substitute.Disabled(r.GetLabels(), r.GetAnnotations()) {
		return false
	}
	return b.vars.Len() > 0 || p.SubstituteStrategy == kustomizev1.SubstituteStrategyAlways
}

func (b *build) substitute(fields map[string]any) (map[string]any, error) {
	text, err := json.Marshal(fields)
	if err != nil {
		return nil, failed("the object cannot be written as JSON")
	}
	if !bytes.ContainsRune(text, '$') {
		return fields, nil
	}
	if len(text) > b.limits.ObjectBytes {
		return nil, failed("the object is %d bytes long, at most %d are allowed", len(text), b.limits.ObjectBytes)
	}
	text, err = b.vars.Object(text)
	if err != nil {
		return nil, failed("variable substitution failed: %v", err)
	}
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(text); err != nil {
		return nil, failed("variable substitution leaves no valid object")
	}
	return o.Object, nil
}

func checkObject(o *unstructured.Unstructured) error {
	switch {
	case o.GetKind() == "" || o.GetAPIVersion() == "":
		return failed("apiVersion or kind is missing")
	case o.GetName() == "" && o.GetGenerateName() != "":
		return failed("metadata.generateName cannot be applied, metadata.name is needed")
	case o.GetName() == "":
		return failed("metadata.name is missing or no string")
	}
	for _, field := range []string{"labels", "annotations"} {
		if _, _, err := unstructured.NestedStringMap(o.Object, "metadata", field); err != nil {
			return failed("metadata.%s: every value must be a string: quote it", field)
		}
	}
	_, encrypted := o.Object["sops"]
	if encrypted && o.GetKind() == "Secret" && !decryptionDisabled(o) {
		return failed("the Secret is SOPS encrypted, spec.decryption is required for it")
	}
	return nil
}

// setMetadata sets the common metadata, and the owner's labels after it: whose
// an object is, is not for the spec to say.
func (b *build) setMetadata(o *unstructured.Unstructured) {
	labels, annotations := o.GetLabels(), o.GetAnnotations()
	if c := b.spec.CommonMetadata; c != nil {
		labels, annotations = over(labels, c.Labels), over(annotations, c.Annotations)
	}
	o.SetLabels(over(labels, map[string]string{ownerName: b.req.Name, ownerNamespace: b.req.Namespace}))
	if len(annotations) > 0 {
		o.SetAnnotations(annotations)
	}
}

func over(m, more map[string]string) map[string]string {
	if m == nil {
		m = make(map[string]string, len(more))
	}
	for k, v := range more {
		m[k] = v
	}
	return m
}

func compare(a, b *unstructured.Unstructured) int {
	ga, gb := a.GroupVersionKind(), b.GroupVersionKind()
	return cmp.Or(
		strings.Compare(ga.Group, gb.Group), strings.Compare(ga.Kind, gb.Kind),
		strings.Compare(a.GetNamespace(), b.GetNamespace()), strings.Compare(a.GetName(), b.GetName()),
		strings.Compare(ga.Version, gb.Version))
}

// unique refuses two objects that are one in the cluster, which substitution
// can make of two in the source, as can two versions of one API.
func unique(sorted []*unstructured.Unstructured) error {
	for i := 1; i < len(sorted); i++ {
		a, b := sorted[i-1], sorted[i]
		same := a.GroupVersionKind().GroupKind() == b.GroupVersionKind().GroupKind() &&
			a.GetNamespace() == b.GetNamespace() && a.GetName() == b.GetName()
		if same {
			e := failed("defined twice")
			e.Object = objectName(b.GetKind(), b.GetNamespace(), b.GetName())
			return e
		}
	}
	return nil
}

// write gives the result its bytes.
func (b *build) write(objects []*unstructured.Unstructured) (*Result, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	for _, o := range objects {
		before := out.Len()
		if err := enc.Encode(o.Object); err != nil {
			return nil, failed("the object cannot be written as JSON")
		}
		if n := out.Len() - before; n > b.limits.ObjectBytes || int64(out.Len()) > b.limits.ResultBytes {
			e := failed("too large: %d bytes, at most %d are allowed, and %d for all objects", n, b.limits.ObjectBytes, b.limits.ResultBytes)
			e.Object = objectName(o.GetKind(), o.GetNamespace(), o.GetName())
			return nil, e
		}
	}
	return &Result{Objects: objects, Manifests: out.Bytes(), Digest: digestOf(out.Bytes())}, nil
}

// at adds to an error the object, and the file if it is known.
func (b *build) at(r *resource.Resource, err error) error {
	e, ok := err.(*Error)
	if !ok {
		return err
	}
	e.Object = objectName(r.GetKind(), r.GetNamespace(), r.GetName())
	e.File = b.sources[idOf(r)]
	return e
}

func objectName(kind, namespace, name string) string {
	if namespace == "" {
		return kind + "/" + name
	}
	return kind + "/" + namespace + "/" + name
}

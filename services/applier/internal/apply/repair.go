package apply

import (
	"encoding/base64"
	"maps"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/cert"
)

// foldStringData moves a Secret's stringData into data, as the API server would. Sent as it is, we
// would own fields of stringData, which is never stored: a key taken out of Git would stay in data.
func (d *desired) foldStringData() {
	plain, ok := d.object["stringData"].(map[string]any)
	if !ok {
		return
	}
	data, ok := d.object["data"].(map[string]any)
	if !ok && d.object["data"] != nil {
		return // The API server will refuse it.
	}
	folded := make(map[string]any, len(data)+len(plain))
	maps.Copy(folded, data)
	for key, value := range plain {
		text, ok := value.(string)
		if !ok {
			return // The API server will refuse it.
		}
		folded[key] = base64.StdEncoding.EncodeToString([]byte(text))
	}
	delete(d.object, "stringData")
	d.object["data"] = folded
}

func isCRD(gvk schema.GroupVersionKind) bool {
	return gvk.Group == apiextensionsv1.GroupName && gvk.Kind == "CustomResourceDefinition"
}

// bundlePath is where a CRD holds the certificates of its conversion webhook.
var bundlePath = []string{"spec", "conversion", "webhook", "clientConfig", "caBundle"}

// dropBadBundle takes a CA bundle that holds no certificate out of a CRD. Generators put one there for
// an injector to replace; API servers since 1.31 refuse the CRD, and what was injected must stay.
func (d *desired) dropBadBundle() {
	bundle, ok, err := unstructured.NestedString(d.object, bundlePath...)
	if !ok || err != nil {
		return
	}
	pem, err := base64.StdEncoding.DecodeString(bundle)
	if err == nil {
		_, err = cert.ParseCertsPEM(pem)
	}
	if err != nil {
		d.object = (&unstructured.Unstructured{Object: d.object}).DeepCopy().Object
		d.metadata = d.object["metadata"].(map[string]any)
		unstructured.RemoveNestedField(d.object, bundlePath...)
	}
}

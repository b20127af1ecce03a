package workload

import (
	"encoding/json"
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// Object is one object as a server-side apply sends it.
type Object struct {
	Path string // of the API server
	Body []byte // JSON
}

var resourcePaths = map[string]string{
	"ServiceAccount": "/api/v1/namespaces/%s/serviceaccounts/%s",
	"ConfigMap":      "/api/v1/namespaces/%s/configmaps/%s",
	"Service":        "/api/v1/namespaces/%s/services/%s",
	"Deployment":     "/apis/apps/v1/namespaces/%s/deployments/%s",
}

// Objects are the objects of one application in a namespace, as a render of the repository gives them at a round and a value, in the
// order in which they are applied. Two labels stand for those that tell which Kustomization owns an object.
func Objects(namespace string, round, value int) ([]Object, error) {
	var objects []Object
	for _, name := range objectFiles {
		content, err := base.ReadFile("base/" + name)
		if err != nil {
			return nil, fmt.Errorf("read base: %w", err)
		}
		object, err := object(content, namespace, round, value)
		if err != nil {
			return nil, fmt.Errorf("make object of %s: %w", name, err)
		}
		objects = append(objects, object)
	}
	return objects, nil
}

func object(content []byte, namespace string, round, value int) (Object, error) {
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(content, &u.Object); err != nil {
		return Object{}, err
	}
	u.SetNamespace(namespace)
	labels := u.GetLabels()
	labels["bench.example.com/owner-name"], labels["bench.example.com/owner-namespace"] = namespace, FleetNamespace
	u.SetLabels(labels)
	annotations := map[string]string{RoundAnnotation: strconv.Itoa(round)}
	u.SetAnnotations(annotations)
	var err error
	switch u.GetKind() {
	case "ConfigMap":
		err = unstructured.SetNestedField(u.Object, strconv.Itoa(value), "data", ValueKey)
	case "Deployment":
		err = unstructured.SetNestedStringMap(u.Object, annotations, "spec", "template", "metadata", "annotations")
	}
	if err != nil {
		return Object{}, err
	}
	body, err := json.Marshal(u.Object)
	return Object{Path: fmt.Sprintf(resourcePaths[u.GetKind()], namespace, u.GetName()), Body: body}, err
}

package crds_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/deploy/crds"
)

// TestExamplesUseEverything makes sure that every field of a spec and every
// value of an enumeration is in an example, so that the API server is asked
// about all of them.
func TestExamplesUseEverything(t *testing.T) {
	all, err := crds.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, crd := range all {
		t.Run(crd.Spec.Names.Kind, func(t *testing.T) {
			used := features{}
			for _, e := range examples(t, crd.Spec.Names.Singular) {
				var object map[string]any
				if err := yaml.Unmarshal([]byte(e.text), &object); err != nil {
					t.Fatalf("%s: %v", e.name, err)
				}
				used.addValue("spec", object["spec"])
			}
			wanted := features{}
			wanted.addSchema("spec", crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"])
			for _, feature := range slices.Sorted(maps.Keys(wanted)) {
				if !used[feature] {
					t.Errorf("no example uses %s", feature)
				}
			}
		})
	}
}

// features is a set of field paths, and of field paths with a value of an
// enumeration.
type features map[string]bool

// addSchema adds what a schema allows.
func (f features) addSchema(path string, s apiextensionsv1.JSONSchemaProps) {
	f[path] = true
	for _, value := range s.Enum {
		f[fmt.Sprintf("%s=%s", path, value.Raw)] = true
	}
	for name, field := range s.Properties {
		f.addSchema(path+"."+name, field)
	}
	if s.Items != nil {
		f.addSchema(path, *s.Items.Schema)
	}
}

// addValue adds what a manifest uses.
func (f features) addValue(path string, value any) {
	f[path] = true
	switch v := value.(type) {
	case map[string]any:
		for name, field := range v {
			f.addValue(path+"."+name, field)
		}
	case []any:
		for _, item := range v {
			f.addValue(path, item)
		}
	case string:
		f[fmt.Sprintf("%s=%q", path, v)] = true
	}
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// sampleSchema has one of each shape: a field, an object, a list of objects, a
// map of objects, a list of strings.
func sampleSchema() *apiextensionsv1.JSONSchemaProps {
	text := apiextensionsv1.JSONSchemaProps{Type: "string"}
	entry := func() *apiextensionsv1.JSONSchemaProps {
		return &apiextensionsv1.JSONSchemaProps{
			Type:       "object",
			Properties: map[string]apiextensionsv1.JSONSchemaProps{"name": text},
		}
	}
	return &apiextensionsv1.JSONSchemaProps{
		Type: "object",
		Properties: map[string]apiextensionsv1.JSONSchemaProps{
			"metadata": {Type: "object"},
			"spec": {
				Type: "object",
				Properties: map[string]apiextensionsv1.JSONSchemaProps{
					"url":   text,
					"list":  {Type: "array", Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: entry()}},
					"table": {Type: "object", AdditionalProperties: &apiextensionsv1.JSONSchemaPropsOrBool{Allows: true, Schema: entry()}},
					"names": {Type: "array", Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &text}},
				},
			},
		},
	}
}

func sampleDefinition() *apiextensionsv1.CustomResourceDefinition {
	return &apiextensionsv1.CustomResourceDefinition{
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name:   "v1",
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: sampleSchema()},
			}},
		},
	}
}

func sampleSentences() map[string]string {
	return map[string]string{
		".":               "The resource.",
		"spec":            "The wish.",
		"spec.url":        "An address.",
		"spec.list":       "A list.",
		"spec.list.name":  "Name in the list.",
		"spec.table":      "A table.",
		"spec.table.name": "Name in the table.",
		"spec.names":      "Names.",
	}
}

func TestDescribeWritesEverySentence(t *testing.T) {
	def := sampleDefinition()
	if err := describe(def, sampleSentences()); err != nil {
		t.Fatal(err)
	}
	top := def.Spec.Versions[0].Schema.OpenAPIV3Schema
	spec := top.Properties["spec"]
	got := map[string]string{
		".":               top.Description,
		"spec":            spec.Description,
		"spec.url":        spec.Properties["url"].Description,
		"spec.list":       spec.Properties["list"].Description,
		"spec.list.name":  spec.Properties["list"].Items.Schema.Properties["name"].Description,
		"spec.table":      spec.Properties["table"].Description,
		"spec.table.name": spec.Properties["table"].AdditionalProperties.Schema.Properties["name"].Description,
		"spec.names":      spec.Properties["names"].Description,
	}
	if diff := cmp.Diff(sampleSentences(), got); diff != "" {
		t.Errorf("descriptions (-want +got):\n%s", diff)
	}
	if d := top.Properties["metadata"].Description; d != "" {
		t.Errorf("metadata is described as %q, want nothing", d)
	}
}

func TestDescribeReportsWhatDoesNotFit(t *testing.T) {
	tests := map[string]struct {
		change func(map[string]string)
		want   string
	}{
		"field without sentence":         {func(s map[string]string) { delete(s, "spec.url") }, "v1: field spec.url has no sentence"},
		"field within a list":            {func(s map[string]string) { delete(s, "spec.list.name") }, "v1: field spec.list.name has no sentence"},
		"empty sentence":                 {func(s map[string]string) { s["spec.names"] = " " }, "v1: field spec.names has no sentence"},
		"sentence without field":         {func(s map[string]string) { s["spec.ref"] = "Gone." }, "v1: sentence for spec.ref, which is no field"},
		"sentence for metadata":          {func(s map[string]string) { s["metadata"] = "Name." }, "v1: sentence for metadata, which is no field"},
		"sentence below a list of texts": {func(s map[string]string) { s["spec.names.x"] = "?" }, "v1: sentence for spec.names.x, which is no field"},
		"both at once": {
			func(s map[string]string) { delete(s, "spec.url"); s["spec.uri"] = "An address." },
			"v1: field spec.url has no sentence\nv1: sentence for spec.uri, which is no field",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			sentences := sampleSentences()
			test.change(sentences)
			err := describe(sampleDefinition(), sentences)
			if err == nil || err.Error() != test.want {
				t.Errorf("got error %v, want %s", err, test.want)
			}
		})
	}
}

func TestReadOverlayRefusesASecondSentence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "twice.yaml")
	if err := os.WriteFile(file, []byte("spec: One.\nspec: Two.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readOverlay(file); err == nil || !strings.Contains(err.Error(), "already set") {
		t.Errorf("got error %v, want one that names the repetition", err)
	}
}

package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// root is the overlay's path for the resource itself.
const root = "."

// readOverlay reads an overlay: a YAML mapping of field paths, written as for
// `kubectl explain` but without the resource ("spec.ref.branch"), to sentences.
func readOverlay(file string) (map[string]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read overlay: %w", err)
	}
	sentences := map[string]string{}
	if err := yaml.UnmarshalStrict(data, &sentences); err != nil {
		return nil, fmt.Errorf("read overlay %s: %w", file, err)
	}
	return sentences, nil
}

// describe sets the descriptions of every version in def. It reports all fields
// that have no sentence and all sentences that have no field.
func describe(def *apiextensionsv1.CustomResourceDefinition, sentences map[string]string) error {
	var errs []error
	for i := range def.Spec.Versions {
		v := &def.Spec.Versions[i]
		d := describer{sentences: sentences, used: map[string]bool{}}
		d.describe(root, v.Schema.OpenAPIV3Schema)
		for _, p := range d.problems() {
			errs = append(errs, fmt.Errorf("%s: %s", v.Name, p))
		}
	}
	return errors.Join(errs...)
}

// describer walks one schema.
type describer struct {
	sentences map[string]string
	used      map[string]bool
	missing   []string
}

// describe sets the description of the schema at path and of all fields below.
func (d *describer) describe(path string, s *apiextensionsv1.JSONSchemaProps) {
	s.Description = d.sentence(path)
	d.fields(path, s)
}

// fields describes the fields of an object, or of the objects in a list or map.
func (d *describer) fields(path string, s *apiextensionsv1.JSONSchemaProps) {
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if path == root && name == "metadata" {
			continue // the API server describes it, and ignores what is said here
		}
		field := s.Properties[name]
		d.describe(join(path, name), &field)
		s.Properties[name] = field
	}
	if s.Items != nil && s.Items.Schema != nil {
		d.fields(path, s.Items.Schema)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		d.fields(path, s.AdditionalProperties.Schema)
	}
}

// sentence returns the sentence for path and remembers that it was asked for.
func (d *describer) sentence(path string) string {
	text := strings.TrimSpace(d.sentences[path])
	if text == "" {
		d.missing = append(d.missing, path)
	}
	d.used[path] = true
	return text
}

// problems lists what does not fit, fields first.
func (d *describer) problems() []string {
	var list []string
	for _, path := range d.missing {
		list = append(list, fmt.Sprintf("field %s has no sentence", path))
	}
	for _, path := range slices.Sorted(maps.Keys(d.sentences)) {
		if !d.used[path] {
			list = append(list, fmt.Sprintf("sentence for %s, which is no field", path))
		}
	}
	return list
}

// join appends a field's name to a path.
func join(path, name string) string {
	if path == root {
		return name
	}
	return path + "." + name
}

package render

import (
	"maps"
	"slices"

	"k8s.io/kube-openapi/pkg/validation/spec"
	kustypes "sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"
)

// maxReferences bounds the references that one file of definitions unfolds to.
const maxReferences = 100_000

// definitions looks at the files of the crds field, whose references kustomize
// follows without end when they form a cycle.
func (v *vet) definitions(dir string, k *kustypes.Kustomization) error {
	for _, value := range k.Crds {
		name, ok := v.file(dir, value)
		if !ok {
			continue
		}
		data, err := v.view.Read(name)
		if err != nil {
			return err
		}
		if err := checkDefinitions(data); err != nil {
			return inFile(err, name)
		}
	}
	return nil
}

func checkDefinitions(data []byte) error {
	var types map[string]struct{ Schema spec.Schema }
	if yaml.Unmarshal(data, &types) != nil {
		return nil // kustomize cannot read it either
	}
	c := definitionCheck{references: make(map[string][]string, len(types)), left: maxReferences}
	for name, t := range types {
		for _, property := range t.Schema.Properties {
			if property.Ref.GetURL() != nil {
				c.references[name] = append(c.references[name], property.Ref.String())
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(types)) {
		if isRoot(types[name].Schema.Properties) && !c.unfold(name, nil) {
			return failed("the definition of %.100q refers to itself, or unfolds to too much", name)
		}
	}
	return nil
}

// isRoot reports whether kustomize begins to unfold at a type.
func isRoot(properties map[string]spec.Schema) bool {
	for _, name := range []string{"kind", "apiVersion", "metadata"} {
		if _, ok := properties[name]; !ok {
			return false
		}
	}
	return true
}

type definitionCheck struct {
	references map[string][]string
	left       int
}

func (c *definitionCheck) unfold(name string, above []string) bool {
	if c.left--; c.left < 0 || slices.Contains(above, name) || len(above) > maxDepth {
		return false
	}
	for _, next := range c.references[name] {
		if !c.unfold(next, append(above, name)) {
			return false
		}
	}
	return true
}

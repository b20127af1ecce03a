package render

import (
	"bytes"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// diagnose finds in a file the document that is no object, as the reason why
// the file could not be read as objects. It returns nil if there is none.
func diagnose(data []byte) *Error {
	d := yaml.NewDecoder(bytes.NewReader(data))
	for range maxDocuments {
		var doc yaml.Node
		if d.Decode(&doc) != nil {
			return nil
		}
		if len(doc.Content) == 0 || yaml.IsYNodeEmptyDoc(&doc) || doc.Content[0].ShortTag() == yaml.NodeTagNull {
			continue
		}
		if err := diagnoseObject(doc.Content[0]); err != nil {
			return err
		}
	}
	return nil
}

func diagnoseObject(n *yaml.Node) *Error {
	if n.Kind != yaml.MappingNode {
		return atLine(n, "this is no Kubernetes object")
	}
	kind := text(field(n, "kind"))
	if items := field(n, "items"); items != nil && strings.HasSuffix(kind, "List") {
		for _, item := range items.Content {
			if err := diagnoseObject(item); err != nil {
				return err
			}
		}
		return nil
	}
	if kind == "" {
		return atLine(n, "kind is missing: this is no Kubernetes object")
	}
	metadata := field(n, "metadata")
	if metadata == nil || metadata.Kind != yaml.MappingNode {
		return atLine(n, kind+": metadata is missing")
	}
	switch {
	case text(field(metadata, "name")) != "":
		return nil
	case text(field(metadata, "generateName")) != "":
		return atLine(n, kind+": metadata.generateName cannot be applied, metadata.name is needed")
	}
	return atLine(n, kind+": metadata.name is missing")
}

func text(n *yaml.Node) string {
	if n == nil {
		return ""
	}
	return n.Value
}

// diagnosis looks in all manifests of the build for one that holds no object.
func (b *build) diagnosis() *Error {
	slices.Sort(b.vet.manifestNames)
	for name, data := range b.view.Files() {
		if _, found := slices.BinarySearch(b.vet.manifestNames, name); !found {
			continue
		}
		if err := diagnose(data); err != nil {
			return err.in(name)
		}
	}
	return nil
}

//lint:file-ignore SA1019 repositories still use the fields that kustomize calls deprecated, and what they hold must be looked at

package render

import (
	"bytes"
	"path"
	"slices"
	"strings"

	kustypes "sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// secrets are all values of Secrets in what the build has read so far, and of
// variables. It is only asked for after an error.
func (b *build) secrets() []string {
	s := secretValues(b.vars.Values())
	for _, p := range b.spec.Patches {
		s.manifests([]byte(p.Patch))
	}
	for name, data := range b.view.Files() {
		var k kustypes.Kustomization
		if slices.Contains(kustomizationNames, path.Base(name)) && k.Unmarshal(data) == nil {
			s.kustomization(b, path.Dir(name), &k)
			continue
		}
		s.manifests(data)
	}
	return slices.DeleteFunc(s, func(value string) bool { return len(value) < minSecret })
}

type secretValues []string

func (s *secretValues) kustomization(b *build, dir string, k *kustypes.Kustomization) {
	for _, p := range slices.Concat(k.Patches, k.PatchesJson6902) {
		s.manifests([]byte(p.Patch))
	}
	for _, p := range k.PatchesStrategicMerge {
		s.manifests([]byte(p))
	}
	for _, inline := range slices.Concat(k.Generators, k.Transformers) {
		s.manifests([]byte(inline))
	}
	for _, g := range k.SecretGenerator {
		for _, literal := range g.LiteralSources {
			s.line(literal)
		}
		for _, source := range sources(g.GeneratorArgs) {
			_, file, found := strings.Cut(source, "=")
			if !found {
				file = source
			}
			s.file(b, dir, file)
		}
	}
}

// file takes every line of a file for secret, and the key's and the value's part.
func (s *secretValues) file(b *build, dir, value string) {
	name, ok := resolve(dir, value)
	if !ok {
		return
	}
	for read, data := range b.view.Files() {
		if read != name {
			continue
		}
		for line := range strings.Lines(string(data)) {
			s.line(strings.TrimSpace(line))
		}
	}
}

func (s *secretValues) line(line string) {
	key, value, _ := strings.Cut(line, "=")
	*s = append(*s, line, key, strings.TrimSpace(value), strings.Trim(value, `"'`))
}

// manifests takes what Secrets and JSON patches set.
func (s *secretValues) manifests(data []byte) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	for range maxDocuments {
		var doc yaml.Node
		if d.Decode(&doc) != nil || len(doc.Content) == 0 {
			return
		}
		s.document(doc.Content[0])
	}
}

func (s *secretValues) document(n *yaml.Node) {
	if n.Kind == yaml.SequenceNode {
		for _, operation := range n.Content {
			s.leaves(field(operation, "value"))
		}
		return
	}
	if items := field(n, "items"); items != nil {
		for _, item := range items.Content {
			s.document(item)
		}
	}
	if kind := field(n, "kind"); kind == nil || kind.Value == "Secret" {
		s.leaves(field(n, "data"))
		s.leaves(field(n, "stringData"))
	}
	// The configuration of a plugin can hold a patch, or what a Secret is made of.
	for _, name := range []string{"patch", "patches", "jsonOp"} {
		if text := field(n, name); text != nil {
			s.manifests([]byte(text.Value))
		}
	}
	if literals := field(n, "literals"); literals != nil {
		for _, literal := range literals.Content {
			s.line(literal.Value)
		}
	}
}

func (s *secretValues) leaves(n *yaml.Node) {
	if n == nil {
		return
	}
	if n.Kind == yaml.ScalarNode {
		for line := range strings.Lines(n.Value) {
			*s = append(*s, strings.TrimSpace(line))
		}
	}
	for i, child := range n.Content {
		if n.Kind != yaml.MappingNode || i%2 == 1 {
			s.leaves(child)
		}
	}
}

func field(n *yaml.Node, name string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

package edit

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Object is what a document, or an item of a list, says it is. All of it may be
// empty: a values file has no kind.
type Object struct {
	APIVersion string
	Kind       string
	Namespace  string
	Name       string
}

// String is the object in the form Kind/namespace/name, without what it has not.
func (o Object) String() string {
	var parts []string
	for _, p := range []string{o.Kind, o.Namespace, o.Name} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, "/")
}

// walk lists the leaves of all documents in the order of the text.
func (f *File) walk() {
	f.byNode = map[*yaml.Node]int{}
	f.cursor = cursor{lines: f.lines, data: f.data}
	for _, doc := range f.docs {
		object := objectOf(root(doc))
		f.visit(doc, nil, nil, &object)
	}
}

// root is the one node of a document; an empty document has an empty scalar.
func root(doc *yaml.Node) *yaml.Node {
	if doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 {
		return doc.Content[0]
	}
	return doc
}

func (f *File) visit(n, parent *yaml.Node, path *step, object *Object) {
	switch n.Kind {
	case yaml.DocumentNode:
		for _, c := range n.Content {
			f.visit(c, n, path, object)
		}
	case yaml.MappingNode:
		f.visitMapping(n, path, object)
	case yaml.SequenceNode:
		for i, c := range n.Content {
			f.visit(c, n, &step{up: path, index: i}, itemObject(c, path, object))
		}
	case yaml.ScalarNode, yaml.AliasNode:
		f.add(n, parent, path, object)
	}
}

func (f *File) visitMapping(n *yaml.Node, path *step, object *Object) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		f.visit(key, n, path, object)
		k, isLeaf := f.byNode[key]
		f.visit(value, n, &step{up: path, key: key.Value, index: -1}, object)
		if !isLeaf {
			continue
		}
		f.leaves[k].key, f.leaves[k].value = true, -1
		if v, ok := f.byNode[value]; ok {
			f.leaves[k].value = v
		}
	}
}

func (f *File) add(n, parent *yaml.Node, path *step, object *Object) {
	l := leaf{node: n, parent: parent, path: path, object: object, value: -1}
	l.begin = f.cursor.offset(n.Line, n.Column)
	l.span, l.placed = spanOf(f.data, n, l.begin)
	if last := f.lastEnd(); !l.placed || l.span.start < last {
		l.span, l.placed = span{last, last}, false // keeps the leaves in order
	}
	l.lastText = -1
	if i := len(f.leaves) - 1; i >= 0 {
		if l.lastText = f.leaves[i].lastText; f.hasText(i) {
			l.lastText = i
		}
	}
	f.byNode[n] = len(f.leaves)
	f.leaves = append(f.leaves, l)
}

func (f *File) lastEnd() int {
	if len(f.leaves) == 0 {
		return 0
	}
	return f.leaves[len(f.leaves)-1].span.end
}

// step is one step on the way from a document to a value. Paths are spelt out
// only when they are asked for: there are as many as there are scalars.
type step struct {
	up    *step
	key   string
	index int // of an item; -1 for a key
}

// maxPath is the most steps of a path that are spelt out.
const maxPath = 64

// String is the path as in spec.containers[0].image.
func (s *step) String() string {
	var parts []string
	for ; s != nil; s = s.up {
		if len(parts) == maxPath {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, s.text())
	}
	slices.Reverse(parts)
	return strings.Join(parts, "")
}

func (s *step) text() string {
	switch {
	case s.index >= 0:
		return fmt.Sprintf("[%d]", s.index)
	case s.up == nil:
		return s.key
	}
	return "." + s.key
}

// itemObject is the object of an item: its own in a Kubernetes list, else that
// of what holds it.
func itemObject(item *yaml.Node, path *step, object *Object) *Object {
	if path == nil || path.up == nil && path.key == "items" {
		if own := objectOf(item); own.Kind != "" {
			return &own
		}
	}
	return object
}

func objectOf(n *yaml.Node) Object {
	meta := field(n, "metadata")
	return Object{
		APIVersion: text(field(n, "apiVersion")),
		Kind:       text(field(n, "kind")),
		Namespace:  text(field(meta, "namespace")),
		Name:       text(field(meta, "name")),
	}
}

// field is the value of a mapping's key, through an alias, or nil.
func field(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key && n.Content[i].Kind == yaml.ScalarNode {
			return dereference(n.Content[i+1])
		}
	}
	return nil
}

// dereference follows an alias; chains of them cannot be written.
func dereference(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// text is the value of a scalar, or nothing.
func text(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return ""
	}
	return n.Value
}

package edit

import (
	"bytes"
	"errors"
	"fmt"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Replacement is a new value for a place of the file.
type Replacement struct {
	Place Place
	Value string
}

// replaced is bytes of a text and what stands there now.
type replaced struct {
	span span
	text []byte
}

// Apply gives the file with the values replaced. Nothing but the bytes of these
// values changes, which is proven before it returns. All places must come from
// this file, each once. The values are held against the grammar of image
// references, so nothing else can be written.
func (f *File) Apply(replacements []Replacement) ([]byte, error) {
	if f.outer != nil {
		return nil, fmt.Errorf("edit %s: not a file of its own", f.Name)
	}
	data, _, err := f.apply(replacements)
	return data, err
}

// apply edits this text and the block strings in it.
func (f *File) apply(replacements []Replacement) ([]byte, []replaced, error) {
	own, inner, err := f.share(replacements)
	if err != nil {
		return nil, nil, err
	}
	expected := map[int]string{}
	var edits []replaced
	for i, value := range own {
		e, err := f.encode(i, value)
		if err != nil {
			return nil, nil, err
		}
		edits = append(edits, e)
		expected[i] = value
	}
	for file, list := range inner {
		text, innerEdits, err := file.apply(list)
		if err != nil {
			return nil, nil, err
		}
		expected[file.outer.leaf] = string(text)
		if edits, err = file.outward(edits, innerEdits); err != nil {
			return nil, nil, err
		}
	}
	data, err := splice(f.data, edits)
	if err != nil {
		return nil, nil, fmt.Errorf("edit %s: %w", f.Name, err)
	}
	return data, edits, f.prove(data, expected)
}

// share parts the replacements into those of this text and those of block
// strings directly in it.
func (f *File) share(replacements []Replacement) (own map[int]string, inner map[*File][]Replacement, err error) {
	own, inner = map[int]string{}, map[*File][]Replacement{}
	for _, r := range replacements {
		if err := checkPart(r.Place.Part, r.Value); err != nil {
			return nil, nil, fmt.Errorf("edit %s:%d: %w", r.Place.File, r.Place.Line, err)
		}
		g := r.Place.file
		for g != nil && g != f && g.outer != nil && g.outer.file != f {
			g = g.outer.file
		}
		switch {
		case g == f:
			if _, twice := own[r.Place.leaf]; twice {
				return nil, nil, fmt.Errorf("edit %s:%d: two values for one place", r.Place.File, r.Place.Line)
			}
			own[r.Place.leaf] = r.Value
		case g == nil || g.outer == nil:
			return nil, nil, fmt.Errorf("edit %s: place %s:%d is of another file", f.Name, r.Place.File, r.Place.Line)
		default:
			inner[g] = append(inner[g], r)
		}
	}
	return own, inner, oneEach(inner, own)
}

// oneEach refuses two readings of one block string, whose edits would each
// undo the other's.
func oneEach(inner map[*File][]Replacement, own map[int]string) error {
	seen := map[int]bool{}
	for file := range inner {
		i := file.outer.leaf
		if _, whole := own[i]; whole || seen[i] {
			return fmt.Errorf("edit %s: block string at line %d is edited twice", file.Name, file.outer.first)
		}
		seen[i] = true
	}
	return nil
}

// outward adds the edits of a block string as edits of the text around it.
func (f *File) outward(edits, inner []replaced) ([]replaced, error) {
	for _, e := range inner {
		start, ok1 := f.toOuter(e.span.start)
		end, ok2 := f.toOuter(e.span.end)
		if !ok1 || !ok2 || end-start != e.span.end-e.span.start {
			return nil, fmt.Errorf("edit %s:%d: value in a block string spans lines", f.Name, f.outer.first)
		}
		edits = append(edits, replaced{span{start, end}, e.text})
	}
	return edits, nil
}

// splice replaces bytes; the spans must be apart.
func splice(data []byte, edits []replaced) ([]byte, error) {
	sort.Slice(edits, func(i, j int) bool { return edits[i].span.start < edits[j].span.start })
	var out bytes.Buffer
	at := 0
	for _, e := range edits {
		if e.span.start < at || e.span.end < e.span.start || e.span.end > len(data) {
			return nil, fmt.Errorf("places overlap at byte %d", e.span.start)
		}
		out.Write(data[at:e.span.start])
		out.Write(e.text)
		at = e.span.end
	}
	out.Write(data[at:])
	return out.Bytes(), nil
}

// encode writes the value the way the present one is written.
func (f *File) encode(i int, value string) (replaced, error) {
	l := f.leaves[i]
	if !f.hasText(i) || l.node.Kind != yaml.ScalarNode {
		return replaced{}, f.invalid(l, "place cannot hold a value")
	}
	if l.node.Style&yaml.TaggedStyle != 0 && l.node.Tag != "!!str" && l.node.Tag != "!" {
		return replaced{}, f.invalid(l, "value is of the type "+l.node.Tag)
	}
	switch {
	case isBlock(l.node):
		return f.encodeBlock(l, value)
	case l.node.Style&yaml.DoubleQuotedStyle != 0:
		return replaced{l.span, []byte(`"` + value + `"`)}, nil
	case l.node.Style&yaml.SingleQuotedStyle != 0:
		return replaced{l.span, []byte(`'` + value + `'`)}, nil
	case l.node.Style&yaml.TaggedStyle == 0 && !plainIsString(value) || !plainIsSafe(value):
		return replaced{l.span, []byte(`"` + value + `"`)}, nil
	}
	return replaced{l.span, []byte(value)}, nil
}

// encodeBlock replaces the one line that a block string has.
func (f *File) encodeBlock(l leaf, value string) (replaced, error) {
	start := lineEnd(f.data, l.span.start)
	body := f.data[start:l.span.end]
	content := bytes.TrimSpace(body)
	if len(content) == 0 || bytes.ContainsAny(content, " \t\r\n") || string(content) != strings.Trim(l.node.Value, "\n") {
		return replaced{}, f.invalid(l, "block string is not one line with one word")
	}
	at := start + bytes.Index(body, content)
	return replaced{span{at, at + len(content)}, []byte(value)}, nil
}

func (f *File) invalid(l leaf, why string) error {
	line := 0
	if l.placed {
		line = f.outerLine(f.lines.at(l.span.start))
	}
	return fmt.Errorf("edit: %w", &Problem{File: f.Name, Line: line, Reason: InvalidValue, Message: why})
}

// ErrNotProven is in the error about an edit that would have changed something
// else than it should; it is a bug, and the file stays as it was.
var ErrNotProven = errors.New("edit would change more than the value")

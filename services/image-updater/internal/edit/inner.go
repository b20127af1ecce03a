package edit

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxInner is how many block strings may stand in one another.
const maxInner = 3

// outer is where a block string that was parsed by itself stands.
type outer struct {
	file *File
	leaf int
	// starts are the offsets in the outer text of the lines of the block string,
	// and first the number of the first of them.
	starts []int
	first  int
}

// outerLine is the number of a line in the file on disk.
func (f *File) outerLine(line int) int {
	for g := f; g.outer != nil; g = g.outer.file {
		line += g.outer.first - 1
	}
	return line
}

// inner parses the content of a literal block string.
func (f *File) inner(i int) (*File, *Problem) {
	depth := 0
	for g := f; g.outer != nil; g = g.outer.file {
		depth++
	}
	if depth == maxInner {
		return nil, f.problem(0, MisplacedMarker, "marker stands in more than %d block strings in one another", maxInner)
	}
	o, ok := f.outerOf(i)
	if !ok {
		return nil, f.problem(0, MisplacedMarker, "marker stands in a block string whose lines cannot be told apart")
	}
	inner, err := Parse(f.Name, []byte(f.leaves[i].node.Value))
	if err != nil || !inner.hasStructure() {
		return nil, f.problem(0, MisplacedMarker, "marker stands in a block string that is not YAML with a list or a map")
	}
	inner.outer = o
	return inner, nil
}

// hasStructure says whether all documents are lists or maps. Any text is YAML of
// one scalar, and no marker should replace all of it.
func (f *File) hasStructure() bool {
	for _, doc := range f.docs {
		if k := root(doc).Kind; k != yaml.MappingNode && k != yaml.SequenceNode {
			return false
		}
	}
	return true
}

// outerOf pairs the lines of the value with those of the text.
func (f *File) outerOf(i int) (*outer, bool) {
	l := f.leaves[i]
	header := lineEnd(f.data, l.span.start)
	indent, at, ok := blockIndent(f.data, header, l.node.Value)
	if !ok {
		return nil, false
	}
	o := &outer{file: f, leaf: i, first: f.lines.at(at)}
	for _, line := range strings.Split(strings.TrimRight(l.node.Value, "\n"), "\n") {
		stop := lineEnd(f.data, at)
		from := min(at+indent, stop)
		if string(f.data[from:stop]) != line {
			return nil, false
		}
		o.starts = append(o.starts, from)
		at = stop + lineBreak(f.data[stop:])
	}
	return o, true
}

// toOuter is the place in the outer text of an offset in the block string.
func (f *File) toOuter(at int) (int, bool) {
	line := f.lines.at(at)
	if line > len(f.outer.starts) {
		return 0, false
	}
	return f.outer.starts[line-1] + at - f.lines.start(line), true
}

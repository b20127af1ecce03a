package edit

import (
	"bytes"
	"regexp"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Markers finds all setter markers of the file, in comments and in literal
// block strings that hold YAML. A marker that cannot be served is a problem;
// none is passed over in silence, but those in lines that are commented out.
func (f *File) Markers() ([]Marker, []*Problem) {
	var found []Marker
	var problems []*Problem
	blocks := map[int]bool{}
	taken := map[int]bool{}
	read := 0 // where the last comment that was read ends
	for _, at := range f.occurrences() {
		if at < read {
			continue
		}
		if i, inside := f.leafAt(at); inside {
			if blocks[i] {
				continue
			}
			blocks[i] = true
			m, p := f.insideScalar(i, at)
			found, problems = append(found, m...), append(problems, p...)
			continue
		}
		from, code := f.comment(at)
		if from >= 0 {
			read = lineEnd(f.data, from)
		}
		m, p := f.marker(at, from, code)
		switch {
		case p != nil:
			problems = append(problems, p)
		case m == nil:
		case taken[m.leaf]:
			problems = append(problems, f.problem(m.Line, MisplacedMarker, "value has two markers"))
		default:
			taken[m.leaf] = true
			found = append(found, *m)
		}
	}
	return found, problems
}

// occurrences are the offsets at which the file speaks of policies.
func (f *File) occurrences() []int {
	var all []int
	for at := 0; ; {
		i := bytes.Index(f.data[at:], []byte(token))
		if i < 0 {
			return all
		}
		all = append(all, at+i)
		at += i + len(token)
	}
}

// leafAt is the scalar that holds the offset.
func (f *File) leafAt(at int) (int, bool) {
	i := f.lastBefore(at)
	if i < 0 {
		return 0, false
	}
	l := f.leaves[i]
	if isBlock(l.node) && at < lineEnd(f.data, l.span.start) {
		return 0, false // in the comment behind its header
	}
	return i, at < l.span.end
}

// lastBefore is the last scalar that has a text and begins at or before the offset, or -1.
func (f *File) lastBefore(at int) int {
	i := sort.Search(len(f.leaves), func(i int) bool { return f.leaves[i].span.start > at }) - 1
	if i >= 0 && !f.hasText(i) {
		return f.leaves[i].lastText
	}
	return i
}

func (f *File) hasText(i int) bool {
	return f.leaves[i].placed && f.leaves[i].span.end > f.leaves[i].span.start
}

func isBlock(n *yaml.Node) bool {
	return n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0
}

// markerInText is a marker as it looks inside a string.
var markerInText = regexp.MustCompile(`#\s*\{[^\n{}]*\$imagepolicy`)

// insideScalar deals with markers in the content of a scalar.
func (f *File) insideScalar(i, at int) ([]Marker, []*Problem) {
	l := f.leaves[i]
	line := f.outerLine(f.lines.at(at))
	switch {
	case l.node.Value == token:
		return nil, []*Problem{f.problem(line, MisplacedMarker, "marker is data of the file; it must be a comment")}
	case !markerInText.MatchString(l.node.Value):
		return nil, nil // prose
	case l.node.Style&yaml.LiteralStyle == 0:
		return nil, []*Problem{f.problem(line, MisplacedMarker, "marker stands in a quoted or folded string; only literal block strings (|) can hold one")}
	}
	inner, problem := f.inner(i)
	if problem != nil {
		problem.Line = line
		return nil, []*Problem{problem}
	}
	return inner.Markers()
}

// marker reads the comment that begins at from, with code before it or not, and
// finds what it marks. It returns neither for a comment that is no marker.
func (f *File) marker(at, from int, code bool) (*Marker, *Problem) {
	if from < 0 {
		return nil, f.problem(f.outerLine(f.lines.at(at)), MisplacedMarker, "marker is not in a comment")
	}
	comment := string(f.data[from:lineEnd(f.data, from)])
	line := f.outerLine(f.lines.at(from))
	if isProse(comment) || !code && !strings.HasPrefix(strings.TrimLeft(comment, "# \t"), "{") {
		return nil, nil // speaks about markers, or is a line that is commented out
	}
	policy, part, err := parseMarker(comment)
	if err != nil {
		return nil, f.problem(line, MalformedMarker, "%v", err)
	}
	target, reason := f.marked(from, code)
	if reason != "" {
		return nil, f.problem(line, MisplacedMarker, "marker of policy %s %s", policy, reason)
	}
	return &Marker{Place: f.place(target, part), Policy: policy}, nil
}

func isProse(comment string) bool {
	return !strings.Contains(comment, "{") && !strings.Contains(comment, `"`+token+`"`)
}

// comment is where the comment around the offset begins, and whether something
// stands before it on its line.
func (f *File) comment(at int) (from int, code bool) {
	start := f.lines.start(f.lines.at(at))
	search := start
	if i := f.lastBefore(at); i >= 0 {
		l := f.leaves[i]
		search = max(search, min(l.span.end, at))
		if isBlock(l.node) && l.span.end > at {
			search = max(start, l.span.start)
		}
	}
	for i := search; i < at; i++ {
		if f.data[i] == '#' && (i == start || isBlank(f.data[i-1]) || isMark(f.data, i)) {
			before := bytes.TrimPrefix(f.data[start:i], []byte(byteOrderMark))
			return i, len(bytes.TrimSpace(before)) > 0
		}
	}
	return -1, false
}

// isMark says whether the hash follows the byte order mark of the file.
func isMark(data []byte, i int) bool {
	return i == len(byteOrderMark) && string(data[:i]) == byteOrderMark
}

package edit

import (
	"bytes"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"
)

// What a misplaced marker is told. They go on from "marker of policy x:y …".
const (
	marksNothing    = "marks nothing: put it behind the value, on the same line"
	marksCollection = "marks a list or a map; it can mark one value only"
	marksSeveral    = "stands behind a list or map of several values: write one value to a line"
	marksAlias      = "marks an alias; mark the value with the anchor"
	marksKey        = "stands before a key: put it behind the value, on the same line"
	marksEmpty      = "marks an empty value: write the present image there"
	marksLines      = "marks a value of several lines, which is no image"
	marksUnclear    = "stands where it cannot be told what it marks"
)

// marked finds the leaf that the comment at the offset marks. Otherwise it says
// why there is none.
func (f *File) marked(comment int, code bool) (leaf int, reason string) {
	if !code {
		return f.followingLine(comment)
	}
	start := f.lines.start(f.lines.at(comment))
	last := f.lastBefore(comment)
	if last >= 0 && isBlock(f.leaves[last].node) && f.leaves[last].span.start >= start {
		return f.target(last) // behind the header of a block string
	}
	if last < 0 || f.leaves[last].span.end <= start {
		return f.afterIndicators(comment, string(f.data[start:comment]))
	}
	gap := strings.TrimSpace(string(f.data[f.leaves[last].span.end:comment]))
	switch {
	case gap == "" || gap == ",":
		if f.leaves[last].key {
			return 0, marksEmpty
		}
		return f.target(last)
	case f.leaves[last].key && strings.HasPrefix(gap, ":"):
		return f.valueOf(last, strings.TrimSpace(gap[1:]), comment)
	case strings.Trim(gap, "]}, \t") == "":
		return f.onlyValue(last, gap)
	}
	return f.afterIndicators(comment, gap)
}

// target is the leaf itself where a marker can set it.
func (f *File) target(i int) (int, string) {
	switch {
	case f.leaves[i].key:
		return 0, marksCollection
	case f.leaves[i].node.Kind == yaml.AliasNode:
		return 0, marksAlias
	case !f.hasText(i):
		return 0, marksEmpty
	case !isBlock(f.leaves[i].node) && lineEnd(f.data, f.leaves[i].span.start) < f.leaves[i].span.end:
		return 0, marksLines
	}
	return i, ""
}

// valueOf is the value of a key that ends its line before the comment.
func (f *File) valueOf(key int, rest string, comment int) (int, string) {
	if strings.ContainsAny(rest, "[{") {
		return f.afterIndicators(comment, rest)
	}
	if f.leaves[key].value < 0 {
		return 0, marksCollection
	}
	return f.target(f.leaves[key].value)
}

// afterIndicators serves a comment with nothing but indicators before it on its
// line: the next value, where that is the item that the indicators begin.
func (f *File) afterIndicators(comment int, before string) (int, string) {
	before = strings.TrimSpace(before)
	if strings.HasSuffix(before, "{") || strings.HasPrefix(before, "---") || strings.HasPrefix(before, "%") {
		return 0, marksUnclear
	}
	if strings.Trim(before, "]}, \t") == "" {
		return 0, marksUnclear
	}
	return f.next(comment)
}

// commentLines are lines of comments alone, from one of them on, and what markers on them mark.
type commentLines struct {
	from, to int
	leaf     int
	reason   string
}

// followingLine serves a comment on a line of its own: the value on the line
// after it, where that has one alone. All of the comments above that line mark
// the same, so that many of them cost one look.
func (f *File) followingLine(comment int) (int, string) {
	if c := &f.above; comment < c.from || comment >= c.to {
		*c = commentLines{from: comment}
		c.to, c.leaf, c.reason = f.below(comment)
	}
	return f.above.leaf, f.above.reason
}

// below is where the comments end, and the value on the line after them.
func (f *File) below(comment int) (at, leaf int, reason string) {
	at = comment
	for {
		at = lineEnd(f.data, at)
		n := lineBreak(f.data[at:])
		if n == 0 {
			return at, 0, marksNothing
		}
		at += n
		trimmed := bytes.TrimLeft(f.data[at:lineEnd(f.data, at)], " \t")
		if len(trimmed) == 0 {
			return at, 0, marksNothing
		}
		if trimmed[0] != '#' {
			break
		}
	}
	i, reason := f.next(comment)
	if reason != "" {
		return at, 0, reason
	}
	l := f.leaves[i]
	if l.begin < at || l.begin > lineEnd(f.data, at) || bytes.ContainsAny(f.data[at:l.begin], "[{") {
		return at, 0, marksUnclear
	}
	return at, i, ""
}

// next is the first leaf after the offset, if it is a value.
func (f *File) next(at int) (int, string) {
	first := sort.Search(len(f.leaves), func(i int) bool { return f.leaves[i].span.start >= at })
	i := max(f.lastBefore(at)+1, first)
	for i < len(f.leaves) && (!f.leaves[i].placed || f.leaves[i].span.end <= at) {
		if f.leaves[i].placed && f.leaves[i].begin >= at {
			return 0, marksEmpty
		}
		i++
	}
	if i >= len(f.leaves) {
		return 0, marksNothing
	}
	if f.leaves[i].key {
		return 0, marksKey
	}
	return f.target(i)
}

// onlyValue serves a comment behind a list or map that closes on its line,
// where it has one value alone.
func (f *File) onlyValue(last int, gap string) (int, string) {
	if f.leaves[last].key {
		return 0, marksCollection
	}
	collection := f.leaves[last].parent
	if strings.Count(gap, "]")+strings.Count(gap, "}") != 1 || collection == nil {
		return 0, marksSeveral
	}
	if collection.Kind == yaml.SequenceNode && len(collection.Content) == 1 ||
		collection.Kind == yaml.MappingNode && len(collection.Content) == 2 {
		return f.target(last)
	}
	return 0, marksSeveral
}

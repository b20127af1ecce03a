package edit

import (
	"bytes"
	"strings"

	"go.yaml.in/yaml/v3"
)

// span is the bytes of a scalar: quotes included, anchor and tag not.
type span struct{ start, end int }

// spanOf finds the bytes of a scalar or alias whose node begins at the offset.
// It says false when the text there is not what the node holds.
func spanOf(data []byte, node *yaml.Node, at int) (span, bool) {
	if at < 0 || at > len(data) {
		return span{}, false
	}
	if node.Kind == yaml.AliasNode {
		end := at + len("*") + len(node.Value)
		return span{at, end}, end <= len(data) && data[at] == '*'
	}
	at = skipProperties(data, at, node)
	end := -1
	switch {
	case node.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		end = blockEnd(data, at, node.Value)
	case node.Style&yaml.DoubleQuotedStyle != 0:
		end = doubleQuotedEnd(data, at)
	case node.Style&yaml.SingleQuotedStyle != 0:
		end = singleQuotedEnd(data, at)
	default:
		end = plainEnd(data, at, node.Value)
	}
	return span{at, end}, end >= 0
}

// skipProperties passes an anchor and a tag, and what is between them and the value.
func skipProperties(data []byte, at int, node *yaml.Node) int {
	for at < len(data) && (data[at] == '&' || data[at] == '!') {
		next := at
		for next < len(data) && !isBlank(data[next]) && lineBreak(data[next:]) == 0 && !isFlowEnd(data[next]) {
			next++
		}
		if node.Value == "" && node.Style&^yaml.TaggedStyle == 0 {
			at = next // nothing follows but the next node
			continue
		}
		at = skipSpace(data, next)
	}
	return at
}

func isFlowEnd(c byte) bool { return c == ',' || c == ']' || c == '}' }

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// skipSpace passes blanks, line ends and comments.
func skipSpace(data []byte, at int) int {
	for at < len(data) {
		switch n := lineBreak(data[at:]); {
		case n > 0:
			at += n
		case isBlank(data[at]):
			at++
		case data[at] == '#':
			at = lineEnd(data, at)
		default:
			return at
		}
	}
	return at
}

func doubleQuotedEnd(data []byte, at int) int {
	if at >= len(data) || data[at] != '"' {
		return -1
	}
	for i := at + 1; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

func singleQuotedEnd(data []byte, at int) int {
	if at >= len(data) || data[at] != '\'' {
		return -1
	}
	for i := at + 1; i < len(data); i++ {
		if data[i] != '\'' {
			continue
		}
		if i+1 < len(data) && data[i+1] == '\'' {
			i++
			continue
		}
		return i + 1
	}
	return -1
}

// plainEnd follows the value through the text. A plain scalar has no escapes;
// where it spans lines, white space in the value stands for any in the text.
func plainEnd(data []byte, at int, value string) int {
	for i := 0; i < len(value); {
		if !isSpace(value[i:]) {
			if at >= len(data) || data[at] != value[i] {
				return -1
			}
			at++
			i++
			continue
		}
		from := at
		for at < len(data) && (isBlank(data[at]) || lineBreak(data[at:]) > 0) {
			at += max(1, lineBreak(data[at:]))
		}
		if at == from {
			return -1
		}
		for i < len(value) && isSpace(value[i:]) {
			i += max(1, lineBreak([]byte(value[i:min(len(value), i+3)])))
		}
	}
	return at
}

func isSpace(s string) bool {
	return isBlank(s[0]) || lineBreak([]byte(s[:min(len(s), 3)])) > 0
}

// blockEnd is where the last line of a literal or folded scalar ends.
func blockEnd(data []byte, at int, value string) int {
	if at >= len(data) || (data[at] != '|' && data[at] != '>') {
		return -1
	}
	end := lineEnd(data, at)
	if strings.TrimLeft(value, "\n") == "" {
		return end
	}
	indent, from, ok := blockIndent(data, end, value)
	if !ok {
		return -1
	}
	for line := from; line < len(data); {
		stop := lineEnd(data, line)
		text := data[line:stop]
		blank := len(bytes.TrimLeft(text, " ")) == 0
		if !blank && leadingSpaces(text) < indent || indent == 0 && isDocumentMark(text) {
			return end
		}
		end = stop
		line = stop + max(1, lineBreak(data[stop:]))
	}
	return end
}

// blockIndent is the indentation of a block scalar's content and the offset of
// its first line. It follows from the first line that is not blank: what it has
// more than the value has is indentation.
func blockIndent(data []byte, header int, value string) (indent, from int, ok bool) {
	from = header + lineBreak(data[header:])
	for line := from; line < len(data); {
		stop := lineEnd(data, line)
		text := data[line:stop]
		if len(bytes.TrimLeft(text, " ")) > 0 {
			first := strings.TrimLeft(value, "\n")
			for strings.TrimLeft(firstLine(first), " ") == "" && first != "" { // lines of spaces only
				_, first, _ = strings.Cut(first, "\n")
			}
			indent = leadingSpaces(text) - leadingSpaces([]byte(first))
			return indent, from, indent >= 0
		}
		line = stop + max(1, lineBreak(data[stop:]))
	}
	return 0, 0, false
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func leadingSpaces(text []byte) int {
	return len(text) - len(bytes.TrimLeft(text, " "))
}

func isDocumentMark(line []byte) bool {
	return bytes.HasPrefix(line, []byte("---")) || bytes.HasPrefix(line, []byte("..."))
}

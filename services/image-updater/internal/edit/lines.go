package edit

import (
	"bytes"
	"sort"
	"unicode/utf8"
)

// byteOrderMark may stand before the first line and has no column.
const byteOrderMark = "\xef\xbb\xbf"

// lines are the offsets at which the lines of a text begin, with the line ends
// that the YAML parser counts.
type lines []int

func splitLines(data []byte) lines {
	starts := lines{0}
	for i := 0; i < len(data); {
		n := lineBreak(data[i:])
		if n == 0 {
			i++
			continue
		}
		i += n
		starts = append(starts, i)
	}
	return starts
}

// lineBreak is the length of the line end that data begins with, or 0.
func lineBreak(data []byte) int {
	switch {
	case len(data) == 0:
		return 0
	case data[0] == '\n':
		return 1
	case data[0] == '\r' && len(data) > 1 && data[1] == '\n':
		return 2
	case data[0] == '\r':
		return 1
	case len(data) > 1 && data[0] == 0xC2 && data[1] == 0x85: // next line
		return 2
	case len(data) > 2 && data[0] == 0xE2 && data[1] == 0x80 && (data[2] == 0xA8 || data[2] == 0xA9): // line and paragraph separators
		return 3
	}
	return 0
}

// at is the number, from 1, of the line that holds the offset.
func (l lines) at(offset int) int {
	return sort.SearchInts(l, offset+1)
}

// start is the offset at which the line with the number begins.
func (l lines) start(line int) int {
	return l[line-1]
}

// cursor turns lines and columns into offsets. It goes on from the place it was
// asked for last: a file of one very long line costs one pass, not one for each
// of its scalars.
type cursor struct {
	lines        lines
	data         []byte
	line, column int
	at           int
}

// offset is the place of a line and a column in characters, both from 1, or -1
// when there is no such place.
func (c *cursor) offset(line, column int) int {
	if line < 1 || line > len(c.lines) || column < 1 {
		return -1
	}
	if line != c.line || column < c.column {
		c.line, c.column, c.at = line, 1, c.lines.start(line)
		if line == 1 && bytes.HasPrefix(c.data, []byte(byteOrderMark)) {
			c.at += len(byteOrderMark)
		}
	}
	for c.column < column {
		if c.at >= len(c.data) {
			return -1
		}
		_, size := utf8.DecodeRune(c.data[c.at:])
		c.at += size
		c.column++
	}
	return c.at
}

// lineEnd is the offset at which the text of the line that holds the offset ends,
// before its line end.
func lineEnd(data []byte, offset int) int {
	for offset < len(data) && lineBreak(data[offset:]) == 0 {
		offset++
	}
	return offset
}

// Package plain makes harmless what others wrote before people read it. It knows no markup.
package plain

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text drops control characters and those that cannot be seen or reorder text; line ends become spaces unless lines are wanted.
func Text(s string, lines bool) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' && lines, r == '\t' && lines:
			return r
		case r == '\n', r == '\r' && !lines, r == '\t', r == '\u2028', r == '\u2029':
			return ' '
		case r == utf8.RuneError, unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, s)
}

// Line is the text in one line of at most so many characters.
func Line(s string, most int) string {
	runes := []rune(strings.TrimSpace(Text(s, false)))
	if len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return string(runes)
}

package provider

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/sluice-cd/sluice/libs/plain"
)

// markup is how a service writes text.
type markup struct {
	escape  func(r rune) string         // what shows the character and does nothing else
	bold    func(escaped string) string // nil for none
	link    func(escaped, url string) string
	size    func(s string) int // how the service counts
	newline string             // what ends a line
}

// characters counts as most services do, or more.
func characters(s string) int {
	n := 0
	for _, r := range s {
		n += max(1, utf16.RuneLen(r))
	}
	return n
}

// quiet parts an @ from what follows it: names after one are called in all chats, some in whatever text they are.
func quiet(r rune) string {
	if r == '@' {
		return "@\u200b"
	}
	return string(r)
}

// entities is quiet for services that read HTML or something like it.
func entities(r rune) string {
	switch r {
	case '&':
		return "&amp;"
	case '<':
		return "&lt;"
	case '>':
		return "&gt;"
	case '"':
		return "&quot;"
	}
	return quiet(r)
}

// backslashes is quiet for services that read Markdown.
func backslashes(r rune) string {
	if strings.ContainsRune("\\`*_~|{}[]()<>#+-!:", r) {
		return `\` + string(r)
	}
	return quiet(r)
}

// fit is s in markup, cut so that it takes at most n.
func (m markup) fit(s string, n int) string {
	const more = "…"
	var b strings.Builder
	size, keep := 0, 0 // keep is how much of b leaves room for more
	before := ' '
	for i, r := range s {
		shown := m.escape(r)
		if r == '@' && isWord(before) && hash.MatchString(s[i+1:]) {
			shown = "@" // of a revision or an image, which somebody may copy
		}
		before = r
		if r == '\n' {
			shown = m.newline
		}
		if size += m.size(shown); size > n {
			return b.String()[:keep] + more
		}
		b.WriteString(shown)
		if size+m.size(more) <= n {
			keep = b.Len()
		}
	}
	return b.String()
}

// hash is what follows the @ of a revision or an image.
var hash = regexp.MustCompile(`^(sha(1|256|512):[0-9a-f]{6}|[0-9a-f]{7}(\W|$))`)

// isWord says whether a character may stand within a word.
func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' }

// line is s in one line of markup.
func (m markup) line(s string, n int) string { return m.fit(oneLine(s), n) }

func (m markup) strong(escaped string) string {
	if m.bold == nil || escaped == "" {
		return escaped
	}
	return m.bold(escaped)
}

func oneLine(s string) string { return strings.TrimSpace(plain.Text(s, false)) }

func lines(s string) string { return strings.TrimSpace(plain.Text(s, true)) }

// icon is a state at a glance.
func (s State) icon() string {
	switch s {
	case Progressing:
		return "⏳"
	case Succeeded:
		return "✅"
	case Failed:
		return "❌"
	case Superseded:
		return "⏭️"
	}
	return "ℹ️"
}

// known is a state that services have names and colors for.
func (s State) known() State {
	switch s {
	case Progressing, Succeeded, Failed:
		return s
	}
	return Informed
}

// color is that of a state, as in CSS.
func (s State) color() string { return fmt.Sprintf("#%06x", s.colorNumber()) }

func (s State) colorNumber() int {
	switch s {
	case Progressing:
		return 0xe0a800
	case Succeeded:
		return 0x2eb67d
	case Failed:
		return 0xe01e5a
	}
	return 0x0076d7
}

// heading is a Content's first line.
func (c Content) heading() string {
	title := oneLine(c.Title)
	if title == "" {
		title = string(c.State)
	}
	return c.State.icon() + " " + title
}

// more tells of rows that are not shown.
func more(n int) string { return fmt.Sprintf("… and %d more", n) }

// fields are the first n of a Content that say something, each in one line.
func (c Content) fields(n int) []Field {
	var found []Field
	for _, f := range c.Fields {
		name, value := oneLine(f.Name), oneLine(f.Value)
		if name != "" && value != "" && len(found) < n {
			found = append(found, Field{name, value})
		}
	}
	return found
}

const maxURL = 2000 // characters that every service takes

// safe is a link that can stand in any markup; false if it leads to no web page.
func (l Link) safe() (Link, bool) {
	u, err := url.Parse(strings.TrimSpace(l.URL))
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return Link{}, false
	}
	to := strings.NewReplacer("(", "%28", ")", "%29", "'", "%27", "<", "%3C", ">", "%3E", `"`, "%22", "|", "%7C", "`", "%60", "*", "%2A",
		"\\", "%5C").Replace(u.String())
	text := oneLine(l.Text)
	if text == "" {
		text = u.Host
	}
	return Link{Text: text, URL: to}, len(to) <= maxURL && !strings.ContainsAny(to, " \n\t<>\"|`")
}

// links are those of a Content that can be followed, as many as are useful.
func (c Content) links() []Link {
	var found []Link
	for _, l := range c.Links {
		if l, ok := l.safe(); ok && len(found) < 5 {
			found = append(found, l)
		}
	}
	return found
}

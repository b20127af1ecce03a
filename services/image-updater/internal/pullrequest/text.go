package pullrequest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sluice-cd/sluice/libs/plain"
)

const maxTitle = 200 // characters; the least that a host takes is 255

// GroupID is the name of a group in the mark that requests carry.
func GroupID(group string) string {
	sum := sha256.Sum256([]byte(group))
	return hex.EncodeToString(sum[:16])
}

// mark is a link definition, which every host hides when it renders Markdown.
// It comes first: Azure cuts bodies in listings.
func mark(group string) string {
	return "[//]: # (sluice-group:" + GroupID(group) + ")\n\n"
}

var markPattern = regexp.MustCompile(`\A\[//\]: # \(sluice-group:([0-9a-f]{32})\)`)

// groupOf reads the mark of a body.
func groupOf(body string) string {
	if m := markPattern.FindStringSubmatch(body); m != nil {
		return m[1]
	}
	return ""
}

// Escape makes text that somebody else wrote harmless within Markdown: it is
// shown as it is, calls nobody, links to nothing and runs no command.
func Escape(s string) string {
	var b strings.Builder
	for _, r := range plain.Text(s, false) {
		switch {
		case r == '@' || r == '#' || r == '/':
			fmt.Fprintf(&b, "&#%d;", r)
		case r < utf8.RuneSelf && (unicode.IsPunct(r) || unicode.IsSymbol(r)) && r != '.' && r != '-' && r != ',':
			if r == '<' || r == '>' || r == '&' {
				fmt.Fprintf(&b, "&#%d;", r)
				continue
			}
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// commandLine is a line that GitLab would obey.
var commandLine = regexp.MustCompile(`(?m)^([ \t]*(?:>[ \t]*)*)/`)

// body is the text of a request: the mark, then the draft's, cut to the host's
// limit. No line of it is a command to GitLab.
func body(d Draft, most int) string {
	text := commandLine.ReplaceAllString(plain.Text(d.Body, true), `$1\/`)
	text = mark(d.Group) + text
	const note = "\n\n…"
	if len(text) > most {
		cut := most - len(note)
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + note
	}
	return text
}

// CheckBranch says why git would not take the name for a branch.
func CheckBranch(name string) error {
	bad := name == "" || len(name) > 240 || strings.HasPrefix(name, "-") || strings.HasPrefix(name, "+") || strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/") ||
		strings.HasSuffix(name, ".") || strings.Contains(name, "..") || strings.Contains(name, "//") || strings.Contains(name, "@{") ||
		name == "@" || name == "HEAD" || strings.HasPrefix(name, "refs/") || strings.ContainsAny(name, " ~^:?*[\\\"'`<>|&;$") || !utf8.ValidString(name)
	for _, part := range strings.Split(name, "/") {
		bad = bad || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock")
	}
	for _, r := range name {
		bad = bad || unicode.IsControl(r) || unicode.IsSpace(r)
	}
	if bad {
		return fmt.Errorf("%w: %q is not a name for a branch", ErrInvalid, plain.Line(name, 100))
	}
	return nil
}

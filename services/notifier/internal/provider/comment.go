package provider

import (
	"fmt"
	"slices"
	"strings"

	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"

	"github.com/sluice-cd/sluice/libs/plain"
)

// maxCommentText is how many characters of a message's text a comment shows.
const maxCommentText = 20_000

// forgeMarkdown writes what git hosts show of Markdown. What is special to them is written as entities: a backslash keeps no name behind
// an @ from being called, nor a number behind a # from being linked.
var forgeMarkdown = markup{escape: forgeEscape, bold: func(s string) string { return "**" + s + "**" }, link: forgeLink, size: characters, newline: "\n"}

func forgeEscape(r rune) string {
	switch {
	case strings.ContainsRune("&<>@#/:", r):
		return fmt.Sprintf("&#%d;", r)
	case strings.ContainsRune("\\`*_{}[]()+-!~|$^=.", r):
		return `\` + string(r)
	}
	return string(r)
}

func forgeLink(escaped, to string) string { return "[" + escaped + "](" + to + ")" }

// commentBody is a message in at most limit characters: what happened, a table of a group's objects, metadata, links.
func commentBody(m Message, limit int) string {
	p := page{markup: forgeMarkdown, left: limit}
	p.add("## " + p.line(m.Content.heading(), maxTitle))
	if about := m.Event.InvolvedObject; about.Name != "" && len(m.Content.Rows) == 0 {
		p.paragraph(p.line(fmt.Sprintf("%s/%s/%s", about.Kind, about.Namespace, about.Name), maxObject))
	}
	p.paragraph(fenced(m.Content.Text))
	p.table(m.Content)
	p.list(m)
	if links := p.linkLine(m.Content); links != "" {
		p.paragraph(links)
	}
	return p.b.String()
}

// paragraph adds text after an empty line, if there is any.
func (p *page) paragraph(text string) {
	if text != "" {
		p.add("\n" + text)
	}
}

// fenced shows text as it is: within a block of code nobody is called, nothing is linked and GitLab obeys no command. The fence is longer
// than any run of backticks in the text.
func fenced(text string) string {
	text = lines(text)
	if text == "" {
		return ""
	}
	if all := []rune(text); len(all) > maxCommentText {
		text = string(all[:maxCommentText]) + "…"
	}
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence + "text\n" + text + "\n" + fence
}

// table is a group's objects, worst first.
func (p *page) table(c Content) {
	if len(c.Rows) == 0 {
		return
	}
	p.add("\n| | | |\n|---|---|---|")
	shown := 0
	for _, r := range c.Rows {
		if p.left < 500 || !p.add(fmt.Sprintf("| %s | %s | %s |", r.State.icon(), p.line(r.Object, 2*maxObject), p.line(r.Detail, 2*maxDetail))) {
			break
		}
		shown++
	}
	if rest := len(c.Rows) - shown + c.RowsMore; rest > 0 {
		p.paragraph(p.line(more(rest), 100))
	}
}

// list is the fields, or else the event's metadata.
func (p *page) list(m Message) {
	fields := m.Content.Fields
	if len(fields) == 0 {
		fields = metadataFields(m.Event)
	}
	for i, f := range fields {
		line := fmt.Sprintf("* %s: %s", p.line(plain.Line(f.Name, maxName), 4*maxName), p.line(plain.Line(f.Value, maxValue), 4*maxValue))
		if i == 0 {
			line = "\n" + line
		}
		p.add(line)
	}
}

// metadataFields are an event's metadata without the request's number, in order.
func metadataFields(e eventv1.Event) []Field {
	var found []Field
	for name, value := range e.Metadata {
		if name != eventv1.MetaChangeRequestKey && name != eventv1.Group+"/"+eventv1.MetaChangeRequestKey {
			found = append(found, Field{name, value})
		}
	}
	slices.SortFunc(found, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	return found
}

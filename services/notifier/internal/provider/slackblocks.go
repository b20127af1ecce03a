package provider

import "strings"

// Limits of Block Kit (docs.slack.dev/reference/block-kit/blocks).
const (
	slackHeader    = 150    // characters of a header
	slackText      = 3000   // of a text
	slackRows      = 100    // of a table, with its head
	slackTableSize = 10_000 // characters in all cells of a message
)

type object = map[string]any

// slackMarkup is for the few texts that Slack parses. What blocks hold is not parsed.
var slackMarkup = markup{escape: slackEscape, size: characters, newline: "\n"}

func slackEscape(r rune) string {
	if r == '"' {
		return `"`
	}
	return entities(r)
}

// slackMessage is a Content for chat.postMessage, chat.update and webhooks. All hostile text stands in elements without markup.
func slackMessage(c Content) object {
	blocks := []any{object{"type": "header", "text": object{"type": "plain_text", "emoji": false, "text": slackMarkup.line(c.heading(), slackHeader)}}}
	if text := lines(c.Text); text != "" {
		blocks = append(blocks, richText(slackWords(text, slackText, false)))
	}
	if fields := slackFields(c); len(fields) > 0 {
		blocks = append(blocks, richText(fields...))
	}
	blocks = append(blocks, slackTable(c)...)
	if links := slackLinks(c); len(links) > 0 {
		blocks = append(blocks, richText(links...))
	}
	return object{
		"text":   slackMarkup.line(c.heading(), slackText), // what notifications show
		"blocks": blocks, "unfurl_links": false, "unfurl_media": false, "link_names": false, "parse": "none",
	}
}

// slackPlain is slackMessage without blocks.
func slackPlain(c Content) object {
	return object{"text": compose(c, plainMarkdown, slackText), "unfurl_links": false, "unfurl_media": false, "link_names": false, "parse": "none"}
}

func richText(elements ...any) object {
	return object{"type": "rich_text", "elements": []any{object{"type": "rich_text_section", "elements": elements}}}
}

// verbatim is for elements whose text is shown as it is.
var verbatim = markup{escape: quiet, size: characters, newline: "\n"}

func slackWords(s string, most int, bold bool) object {
	word := object{"type": "text", "text": verbatim.fit(s, most)}
	if bold {
		word["style"] = object{"bold": true}
	}
	return word
}

func slackFields(c Content) []any {
	var found []any
	for i, f := range c.fields(maxFields) {
		if i > 0 {
			found = append(found, slackWords("\n", 1, false))
		}
		found = append(found, slackWords(f.Name+": ", maxName, true), slackWords(f.Value, maxValue, false))
	}
	return found
}

// slackTable is Content's rows as a table, worst first, and what is left out.
func slackTable(c Content) []any {
	if len(c.Rows) == 0 && c.RowsMore == 0 {
		return nil
	}
	rows := []any{[]any{cell("State"), cell("Object"), cell("Detail")}}
	size := len("StateObjectDetail")
	for _, r := range c.Rows {
		state, object, detail := r.State.icon(), verbatim.line(r.Object, maxObject), verbatim.line(r.Detail, maxDetail)
		size += characters(state + object + detail)
		if len(rows) == slackRows || size > slackTableSize {
			break
		}
		rows = append(rows, []any{cell(state), cell(object), cell(detail)})
	}
	var blocks []any
	if len(rows) > 1 {
		blocks = append(blocks, object{"type": "table", "rows": rows, "column_settings": []any{object{"align": "center"}, object{"is_wrapped": true}, object{"is_wrapped": true}}})
	}
	if rest := len(c.Rows) - (len(rows) - 1) + c.RowsMore; rest > 0 {
		blocks = append(blocks, object{"type": "context", "elements": []any{object{"type": "plain_text", "emoji": false, "text": more(rest)}}})
	}
	return blocks
}

// cell has at least one character: Slack takes no empty one.
func cell(s string) object {
	if s == "" {
		s = "–"
	}
	return object{"type": "raw_text", "text": s}
}

func slackLinks(c Content) []any {
	var found []any
	for _, l := range c.links() {
		if len(found) > 0 {
			found = append(found, slackWords(" · ", 3, false))
		}
		found = append(found, object{"type": "link", "url": l.URL, "text": verbatim.fit(l.Text, maxName)})
	}
	return found
}

// plainMarkdown is the text of attachments where it is read as Markdown or as Slack's own markup: characters of both stand alone.
var plainMarkdown = markup{
	escape: func(r rune) string {
		if strings.ContainsRune("\\`*_~[]|#!", r) {
			return parted(r)
		}
		return slackEscape(r)
	},
	link: func(text, url string) string { return "<" + url + "|" + text + ">" },
	size: characters, newline: "\n",
}

// slackAttachment is the form that Slack had before blocks, and that others took over.
func slackAttachment(s Settings, m Message) object {
	c := m.Content
	fields := []any{}
	for _, f := range c.fields(maxFields) {
		fields = append(fields, object{"title": plainMarkdown.fit(f.Name, maxName), "value": plainMarkdown.fit(f.Value, maxValue), "short": len(f.Value) < 40})
	}
	title := plainMarkdown.line(c.heading(), maxTitle)
	body := Content{State: c.State, Text: c.Text, Rows: c.Rows, RowsMore: c.RowsMore, Links: c.Links}
	message := object{"username": s.author(m), "attachments": []any{object{
		"fallback": title, "color": c.State.color(), "author_name": title, "text": composeBody(body, plainMarkdown, slackText), "mrkdwn_in": []any{}, "fields": fields,
	}}}
	if s.Spec.Channel != "" {
		message["channel"] = s.Spec.Channel
	}
	return message
}

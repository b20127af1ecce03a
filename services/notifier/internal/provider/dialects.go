package provider

import "strings"

// htmlMarkup is HTML as Google Chat, Matrix and Teams' connectors read it.
var htmlMarkup = markup{
	escape: entities, size: jsonBytes, newline: "<br>",
	bold: func(s string) string { return "<b>" + s + "</b>" },
	link: htmlLink,
}

// telegramMarkup is HTML as Telegram reads it: with line ends as they are.
var telegramMarkup = markup{escape: entities, size: characters, newline: "\n", bold: htmlMarkup.bold, link: htmlLink}

func htmlLink(text, url string) string {
	return `<a href="` + strings.ReplaceAll(url, "&", "&amp;") + `">` + text + `</a>`
}

// plainMarkup is for text that nobody parses, in messages that are measured as JSON.
var plainMarkup = markup{
	escape: quiet, size: jsonBytes, newline: "\n",
	link: func(text, url string) string { return text + ": " + url },
}

// zulipMarkup is Zulip's Markdown, which has no HTML.
var zulipMarkup = markup{
	escape: func(r rune) string {
		if strings.ContainsRune("\\`*_~[]|#!<>$", r) {
			return parted(r)
		}
		return quiet(r)
	},
	size: characters, newline: "\n",
	bold: func(s string) string { return "**" + s + "**" },
	link: markdownLink,
}

// webexMarkup is Markdown with HTML in it.
var webexMarkup = markup{
	escape: plainMarkdown.escape, size: jsonBytes, newline: "  \n", bold: zulipMarkup.bold, link: markdownLink,
}

func markdownLink(text, url string) string { return "[" + text + "](" + url + ")" }

// parted is a character that has no neighbour: where a service has no way to escape, it means nothing alone.
func parted(r rune) string { return "\u200b" + string(r) + "\u200b" }

// jsonBytes counts what a text takes within JSON, which is never less than what it takes by itself.
func jsonBytes(s string) int {
	n := len(s)
	for _, r := range s {
		switch {
		case r == '"', r == '\\', r == '\n', r == '\t':
			n++
		case r < ' ', r == '\u2028', r == '\u2029':
			n += 5
		}
	}
	return n
}

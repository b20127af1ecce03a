package demo

import "strings"

// show makes of Slack's blocks what people see: a heading and lines.
func show(blocks []map[string]any) (heading string, lines []string) {
	for _, block := range blocks {
		switch block["type"] {
		case "header":
			heading = textOf(block["text"])
		case "table":
			lines = append(lines, table(list(block["rows"]))...)
		default:
			lines = append(lines, strings.Split(textOf(block["elements"]), "\n")...)
		}
	}
	return heading, lines
}

// textOf is the text of an element and of those in it.
func textOf(element any) string {
	switch e := element.(type) {
	case map[string]any:
		if text, ok := e["text"].(string); ok {
			return text
		}
		return textOf(e["text"]) + textOf(e["elements"])
	case []any:
		var all strings.Builder
		for _, one := range e {
			all.WriteString(textOf(one))
		}
		return all.String()
	}
	return ""
}

func list(v any) []any {
	all, _ := v.([]any)
	return all
}

// table is the lines of a table, its columns parted by bars.
func table(rows []any) (lines []string) {
	for _, row := range rows {
		var cells []string
		for _, cell := range list(row) {
			cells = append(cells, textOf(cell))
		}
		lines = append(lines, strings.Join(cells, " │ "))
	}
	return lines
}

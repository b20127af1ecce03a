package branch

import (
	"strings"
)

// Trailer returns the values that the last paragraph of a commit's message gives
// under a key, in the form "Key: value". Keys are not case-sensitive.
func Trailer(message, key string) []string {
	text := strings.TrimSpace(strings.ReplaceAll(message, "\r\n", "\n"))
	at := strings.LastIndex(text, "\n\n")
	if at < 0 {
		return nil // there is nothing but the subject
	}
	var values []string
	for line := range strings.Lines(text[at+2:]) {
		name, value, ok := strings.Cut(line, ":")
		if ok && strings.EqualFold(strings.TrimSpace(name), key) {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return values
}

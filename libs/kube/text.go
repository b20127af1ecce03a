package kube

import "strings"

// clip cuts a message to at most n bytes, at a character's end.
func clip(message string, n int) string {
	const more = " …"
	if len(message) <= n {
		return message
	}
	return strings.ToValidUTF8(message[:n-len(more)], "") + more
}

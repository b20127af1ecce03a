package render

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fluxcd/pkg/apis/meta"

	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/tree"
)

// maxMessage is the most bytes of an error's message.
const maxMessage = 1000

// Error says what is wrong with the source or the Kustomization. Unless
// it is Passing, rendering the same again fails in the same way. Its message holds no value of a Secret or a
// variable, and can be shown to whoever may see the Kustomization.
type Error struct {
	// Reason is the reason of the Ready condition: ArtifactFailed when the path
	// is not in the source, BuildFailed otherwise.
	Reason string
	// File is the file at fault, relative to the source's root, when known.
	File string
	// Line is the line in File, from 1, when known.
	Line int
	// Object is the object at fault as Kind/namespace/name, when known.
	Object string
	// Message says what is wrong.
	Message string
	// Passing says that rendering the same again may succeed.
	Passing bool
	// ReadSet is what the failed render read.
	ReadSet tree.ReadSet
	// Remotes are the addresses that the failed render used, with the IDs of what was there.
	Remotes map[Address]string
}

// Error returns the message with file, line and object before it.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
		}
		b.WriteString(": ")
	}
	if e.Object != "" {
		b.WriteString(e.Object + ": ")
	}
	b.WriteString(e.Message)
	return capped(b.String())
}

// failed is a BuildFailed Error.
func failed(format string, args ...any) *Error {
	return &Error{Reason: meta.BuildFailedReason, Message: fmt.Sprintf(format, args...)}
}

// in adds the file to e.
func (e *Error) in(file string) *Error {
	e.File = file
	return e
}

func pathNotFound(path string) *Error {
	return &Error{
		Reason:  meta.ArtifactFailedReason,
		Message: fmt.Sprintf("kustomization path not found: %s", path),
	}
}

// capped makes a message one line of text, of at most maxMessage bytes.
func capped(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
	if len(s) <= maxMessage {
		return s
	}
	s = s[:maxMessage-len("…")]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + "…"
}

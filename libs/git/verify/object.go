package verify

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// splitCommit takes the signature out of a commit: the header gpgsig with its
// continuation lines. What remains is what was signed. gpgsig-sha256 is left out
// of it, too, as git does.
func splitCommit(raw []byte) (payload, signature []byte, err error) {
	header, message := raw, []byte(nil)
	if end := bytes.Index(raw, []byte("\n\n")); end >= 0 {
		header, message = raw[:end+1], raw[end+1:]
	}
	into := &payload // what continuation lines belong to; nil for nothing
	found := false
	for line := range bytes.Lines(header) {
		if line[0] != ' ' {
			into = &payload
		}
		rest := line
		if text, ok := bytes.CutPrefix(line, []byte("gpgsig ")); ok {
			if found {
				return nil, nil, errors.New("it has two signatures")
			}
			found, into, rest = true, &signature, text
		} else if bytes.HasPrefix(line, []byte("gpgsig-sha256 ")) {
			into = nil
		} else if into == &signature {
			rest = line[1:]
		}
		if into != nil {
			*into = append(*into, rest...)
		}
	}
	return append(payload, message...), signature, nil
}

// splitTag cuts a tag object where its last signature begins.
func splitTag(raw []byte) (payload, signature []byte) {
	at, pos := len(raw), 0
	for line := range bytes.Lines(raw) {
		for _, begin := range []string{beginPGP, beginSSH, beginX509} {
			if bytes.HasPrefix(line, []byte(begin)) {
				at = pos
			}
		}
		pos += len(line)
	}
	return raw[:at], raw[at:]
}

// checkTag makes sure that a tag object is about this commit and this name. A
// server, or whoever may move refs in it, could otherwise show an old signed tag
// under a new name, or a signed tag beside a commit that it does not name.
func checkTag(raw []byte, commit, name string) error {
	header, _, _ := strings.Cut(string(raw), "\n\n")
	lines := strings.Split(header, "\n")
	want := []string{"object " + commit, "type commit", "tag " + name}
	for i, line := range want {
		if len(lines) <= i || lines[i] != line {
			field, _, _ := strings.Cut(line, " ")
			return fmt.Errorf("the tag object does not say %q: its %s is another", line, field)
		}
	}
	if len(lines) > 4 || len(lines) == 4 && !strings.HasPrefix(lines[3], "tagger ") {
		return errors.New("the tag object has headers that it should not have")
	}
	return nil
}

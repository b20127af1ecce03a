package demo

import (
	"fmt"
	"strings"
)

// edit is one change of a commit to one file.
type edit struct {
	file string
	// from is replaced by to; it must be in the file exactly once.
	from, to string
	// add names a file of the example that becomes this one.
	add string
	// remove takes the file out.
	remove bool
}

// apply makes the change to the files.
func (e edit) apply(f files) error {
	content, there := f[e.file]
	switch {
	case e.add != "":
		added, err := example.ReadFile("example/added/" + e.add)
		if err != nil {
			return fmt.Errorf("add %s: %w", e.file, err)
		}
		f[e.file] = string(added)
	case !there:
		return fmt.Errorf("edit %s: no such file", e.file)
	case e.remove:
		delete(f, e.file)
	case strings.Count(content, e.from) != 1:
		return fmt.Errorf("edit %s: %q is there %d times, want once", e.file, e.from, strings.Count(content, e.from))
	default:
		f[e.file] = strings.Replace(content, e.from, e.to, 1)
	}
	return nil
}

// String says the change in words.
func (e edit) String() string {
	switch {
	case e.add != "":
		return e.file + ": new file"
	case e.remove:
		return e.file + ": removed"
	default:
		return fmt.Sprintf("%s: %s → %s", e.file, visible(e.from), visible(e.to))
	}
}

// visible shows what is left of a text without its indentation, unless that is what the text is about.
func visible(text string) string {
	text = strings.TrimRight(text, "\n")
	if strings.HasPrefix(text, "\n") {
		return fmt.Sprintf("%q", strings.TrimPrefix(text, "\n"))
	}
	return strings.Join(strings.Fields(text), " ")
}

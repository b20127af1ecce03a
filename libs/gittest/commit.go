package gittest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Commit describes one commit. Zero fields mean: branch main, on top of it, a
// plain message, now.
type Commit struct {
	Branch, Message string
	// Author is "Name <address>".
	Author string
	Time   time.Time
	// Files are written over those of the parent; names are slash-separated.
	Files map[string]string
	// Executable names those of Files that get the executable bit.
	Executable []string
	// Symlinks map a name to its target.
	Symlinks map[string]string
	// Submodules map a name to a commit.
	Submodules map[string]string
	// Delete names files or directories to leave out.
	Delete []string
	// Orphan starts a new history with these files alone, which makes the
	// commit a forced push.
	Orphan bool
	// Parent is the commit to build on in place of the branch's tip, a forced
	// push too.
	Parent string
}

// Commit writes a commit straight into the repository, moves its branch there
// and returns the commit's hash.
func (r *Repository) Commit(ctx context.Context, c Commit) (string, error) {
	if c.Branch == "" {
		c.Branch = "main"
	}
	ref := "refs/heads/" + c.Branch
	if c.Parent == "" && !c.Orphan {
		c.Parent, _ = r.Resolve(ctx, ref) // none: the branch is new
	}
	if _, err := r.Git(ctx, c.stream(ref), "fast-import", "--quiet", "--force", "--done", "--date-format=raw"); err != nil {
		return "", fmt.Errorf("commit to %s: %w", c.Branch, err)
	}
	return r.Resolve(ctx, ref)
}

// stream is the commit in the language of git fast-import.
func (c Commit) stream(ref string) []byte {
	if c.Message == "" {
		c.Message = "change " + strings.Join(slices.Sorted(maps.Keys(c.Files)), ", ")
	}
	if c.Author == "" {
		c.Author = "Jane Doe <jane@example.com>"
	}
	if c.Time.IsZero() {
		c.Time = time.Now()
	}
	var b bytes.Buffer
	if c.Parent == "" {
		fmt.Fprintf(&b, "reset %s\n", ref)
	}
	when := fmt.Sprintf("%d %s", c.Time.Unix(), c.Time.Format("-0700"))
	fmt.Fprintf(&b, "commit %s\nauthor %s %s\ncommitter %s %s\n", ref, c.Author, when, c.Author, when)
	data(&b, c.Message)
	if c.Parent != "" {
		fmt.Fprintf(&b, "from %s\n", c.Parent)
	}
	for _, name := range c.Delete {
		fmt.Fprintf(&b, "D %s\n", quote(name))
	}
	c.entries(&b)
	b.WriteString("\ndone\n")
	return b.Bytes()
}

func (c Commit) entries(b *bytes.Buffer) {
	for _, name := range slices.Sorted(maps.Keys(c.Files)) {
		mode := "100644"
		if slices.Contains(c.Executable, name) {
			mode = "100755"
		}
		fmt.Fprintf(b, "M %s inline %s\n", mode, quote(name))
		data(b, c.Files[name])
	}
	for _, name := range slices.Sorted(maps.Keys(c.Symlinks)) {
		fmt.Fprintf(b, "M 120000 inline %s\n", quote(name))
		data(b, c.Symlinks[name])
	}
	for _, name := range slices.Sorted(maps.Keys(c.Submodules)) {
		fmt.Fprintf(b, "M 160000 %s %s\n", c.Submodules[name], quote(name))
	}
}

func data(b *bytes.Buffer, content string) {
	fmt.Fprintf(b, "data %d\n%s\n", len(content), content)
}

// quote writes a path as fast-import reads it: C-style within double quotes.
func quote(path string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(path) + `"`
}

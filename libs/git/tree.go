package git

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

const (
	maxTreeBytes = 32 << 20
	maxDepth     = 128
	maxPath      = 1024 // what consumers of artifacts take
)

// kind of an entry in a tree.
type kind int

const (
	plainFile kind = iota
	executableFile
	symlink
	submodule
	directory
)

// kinds are the modes that git knows; 100664 is one of the past.
var kinds = map[string]kind{
	"100644": plainFile, "100664": plainFile, "100755": executableFile,
	"120000": symlink, "160000": submodule, "40000": directory, "040000": directory,
}

// entry is one line of a tree. Within a walk its name is the whole path.
type entry struct {
	name string
	kind kind
	hash string
}

func readTree(ctx context.Context, o *objects, hash string) ([]entry, error) {
	data, err := o.read(ctx, plumbing.TreeObject, hash, maxTreeBytes)
	if err != nil {
		return nil, err
	}
	return parseTree(data)
}

// parseTree refuses names that no checkout would accept, whatever they may be
// good for.
func parseTree(data []byte) ([]entry, error) {
	var entries []entry
	seen := map[string]bool{}
	for len(data) > 0 {
		mode, rest, ok := bytes.Cut(data, []byte(" "))
		name, hash, ok2 := bytes.Cut(rest, []byte{0})
		if !ok || !ok2 || len(hash) < 20 {
			return nil, fmt.Errorf("%w: malformed", ErrInvalidTree)
		}
		k, known := kinds[string(mode)]
		if !known {
			return nil, fmt.Errorf("%w: %q has mode %q", ErrInvalidTree, name, mode)
		}
		e := entry{name: string(name), kind: k, hash: hex.EncodeToString(hash[:20])}
		if err := checkName(e.name); err != nil {
			return nil, err
		}
		if seen[e.name] {
			return nil, fmt.Errorf("%w: %q occurs twice", ErrInvalidTree, e.name)
		}
		seen[e.name] = true
		entries, data = append(entries, e), hash[20:]
	}
	return entries, nil
}

func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsRune(name, '/') || strings.EqualFold(name, ".git") {
		return fmt.Errorf("%w: an entry is named %q", ErrInvalidTree, name)
	}
	return nil
}

// walker visits a tree in the order of git.
type walker struct {
	objects *objects
	// left is the number of entries that may still come.
	left int
	// enter decides whether a directory is visited; nil visits all.
	enter func(path string) bool
	// visit is called for everything but directories.
	visit func(entry) error
}

func (w *walker) walk(ctx context.Context, hash, dir string, depth int) error {
	if depth > maxDepth || len(dir) > maxPath {
		return fmt.Errorf("%w: directories nested too deep", ErrInvalidTree)
	}
	entries, err := readTree(ctx, w.objects, hash)
	if err != nil {
		return err
	}
	if w.left -= len(entries) + 1; w.left < 0 {
		return fmt.Errorf("the number of files is %w", ErrTooLarge)
	}
	for _, e := range entries {
		e.name = join(dir, e.name)
		if e.kind != directory {
			err = w.visit(e)
		} else if w.enter == nil || w.enter(e.name) {
			err = w.walk(ctx, e.hash, e.name, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

package branch

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-cd/sluice/libs/archive"
	"github.com/sluice-cd/sluice/libs/git"
)

const (
	modeFile      = "100644"
	modeDirectory = "40000"
	maxDepth      = 64
)

// edited is a tree after changes.
type edited struct {
	root    string
	objects []git.Object
	changed []string
}

// edit applies changes to the tree of a head.
func edit(ctx context.Context, h *Head, changes map[string][]byte) (*edited, error) {
	top := newFolder()
	for _, path := range sortedNames(changes) {
		if err := checkPath(path); err != nil {
			return nil, err
		}
		if err := top.put(path, path, changes[path]); err != nil {
			return nil, err
		}
	}
	e := &edited{root: h.Commit().Tree}
	if len(changes) == 0 {
		return e, nil
	}
	var err error
	e.root, err = e.folder(ctx, h, h.Commit().Tree, top)
	slices.Sort(e.changed)
	return e, err
}

// checkPath refuses what no checkout takes, or takes for something else.
func checkPath(path string) error {
	if err := archive.CheckPath(path); err != nil {
		return fmt.Errorf("%w path: %w", ErrInvalid, err)
	}
	parts := strings.Split(path, "/")
	if len(parts) > maxDepth {
		return fmt.Errorf("%w path %q: too deep", ErrInvalid, path)
	}
	for _, part := range parts {
		if part == "" || part == "." || part == ".." || gitsOwn(part) || strings.ContainsAny(part, "\x00\\") {
			return fmt.Errorf("%w path %q", ErrInvalid, path)
		}
	}
	return nil
}

// gitsOwn is true for .git and what some file systems take for it.
func gitsOwn(name string) bool {
	name = strings.ToLower(strings.TrimRight(name, ". "))
	return name == ".git" || name == "git~1" || strings.HasPrefix(name, ".git:")
}

// folder is a directory with changes below it.
type folder struct {
	files   map[string]change
	folders map[string]*folder
}

type change struct {
	path    string // from the root
	content []byte
}

func newFolder() *folder { return &folder{map[string]change{}, map[string]*folder{}} }

func (f *folder) put(whole, path string, content []byte) error {
	name, rest, nested := strings.Cut(path, "/")
	if !nested {
		if _, ok := f.folders[name]; ok {
			return fmt.Errorf("%w path %q: it is a directory of another change", ErrInvalid, whole)
		}
		f.files[name] = change{whole, content}
		return nil
	}
	if _, ok := f.files[name]; ok {
		return fmt.Errorf("%w path %q: it lies below a file of another change", ErrInvalid, whole)
	}
	if f.folders[name] == nil {
		f.folders[name] = newFolder()
	}
	return f.folders[name].put(whole, rest, content)
}

func sortedNames[T any](of map[string]T) []string { return slices.Sorted(maps.Keys(of)) }

// line is an entry of a tree, byte for byte.
type line struct{ mode, name, hash string }

func parseLines(raw []byte) []line {
	var lines []line
	for len(raw) > 0 { // its form was checked on reading
		mode, rest, _ := bytes.Cut(raw, []byte(" "))
		name, rest, _ := bytes.Cut(rest, []byte{0})
		lines = append(lines, line{string(mode), string(name), hex.EncodeToString(rest[:20])})
		raw = rest[20:]
	}
	return lines
}

func encodeLines(lines []line) ([]byte, error) {
	var b bytes.Buffer
	for _, l := range lines {
		hash, err := hex.DecodeString(l.hash)
		if err != nil || len(hash) != 20 {
			return nil, fmt.Errorf("%w hash %q", ErrInvalid, l.hash)
		}
		b.WriteString(l.mode + " " + l.name + "\x00")
		b.Write(hash)
	}
	return b.Bytes(), nil
}

// order is git's: directories sort as if their names ended in a slash.
func (l line) order() string {
	if l.mode == modeDirectory || l.mode == "0"+modeDirectory {
		return l.name + "/"
	}
	return l.name
}

// folder returns the hash of a directory after its changes; an empty one stands
// for no directory.
func (e *edited) folder(ctx context.Context, h *Head, hash string, f *folder) (string, error) {
	var lines []line
	if hash != "" {
		raw, err := h.snapshot.RawTree(ctx, hash)
		if err != nil {
			return "", err
		}
		lines = parseLines(raw)
	}
	at := make(map[string]int, len(lines))
	for i, l := range lines {
		at[l.name] = i
	}
	before := len(e.objects)
	added, err := e.apply(ctx, h, lines, at, f)
	if err != nil {
		return "", err
	}
	if len(e.objects) == before && len(added) == 0 {
		return hash, nil
	}
	return e.write(append(lines, added...), len(added) > 0)
}

// apply changes lines in place and returns those to add.
func (e *edited) apply(ctx context.Context, h *Head, lines []line, at map[string]int, f *folder) (added []line, err error) {
	for _, name := range sortedNames(f.files) {
		var present *line
		if i, ok := at[name]; ok {
			present = &lines[i]
		}
		fresh, err := e.file(present, f.files[name])
		if err != nil {
			return nil, err
		}
		if present == nil {
			added = append(added, line{modeFile, name, fresh})
			continue
		}
		present.hash = fresh
	}
	for _, name := range sortedNames(f.folders) {
		fresh := line{modeDirectory, name, ""}
		i, ok := at[name]
		if ok {
			if fresh = lines[i]; fresh.order() == fresh.name {
				return nil, fmt.Errorf("%w path: %q is no directory", ErrInvalid, name)
			}
		}
		if fresh.hash, err = e.folder(ctx, h, fresh.hash, f.folders[name]); err != nil {
			return nil, err
		}
		if ok {
			lines[i] = fresh
		} else {
			added = append(added, fresh)
		}
	}
	return added, nil
}

// file returns the hash of a file's new content.
func (e *edited) file(present *line, c change) (string, error) {
	if present != nil && !strings.HasPrefix(present.mode, "100") {
		return "", fmt.Errorf("%w path %q: it is a symbolic link, a submodule or a directory", ErrInvalid, c.path)
	}
	blob := git.NewBlob(c.content)
	if present != nil && present.hash == blob.Hash {
		return blob.Hash, nil
	}
	e.objects = append(e.objects, blob)
	e.changed = append(e.changed, c.path)
	return blob.Hash, nil
}

func (e *edited) write(lines []line, unsorted bool) (string, error) {
	if unsorted {
		slices.SortFunc(lines, func(a, b line) int { return cmp.Compare(a.order(), b.order()) })
	}
	raw, err := encodeLines(lines)
	if err != nil {
		return "", err
	}
	tree := git.NewTree(raw)
	e.objects = append(e.objects, tree)
	return tree.Hash, nil
}

// Package tree holds one revision of a source in memory and answers for it.
//
// A Tree is the immutable copy that many renders share. A View is what one
// render sees of it: a file system for kustomize, with the few generated files
// of that render laid over it, that remembers every question it was asked.
// What it remembers is the ReadSet: when a later revision gives the same
// answers, the render of that revision is the same, and needs not be done.
//
// The package knows nothing of kustomizations or Kubernetes objects, and never
// touches the real disk.
package tree

import (
	"bytes"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"
)

// MaxPath is the longest path, in bytes, that a Tree holds or looks up.
const MaxPath = 4096

// Tree is one revision's files. It is immutable and safe for concurrent use.
type Tree struct {
	files map[string]*file
	dirs  map[string]*dir // "." is the root
	size  int64
}

// file is a blob with the fact that it was read, which is made when a read-set first asks for it. Revisions with the same blob under the
// same name share it.
type file struct {
	name    string
	data    []byte
	fact    atomic.Pointer[string]
	verdict atomic.Pointer[verdict]
}

// dir is a directory with the names in it, sorted; those of directories end in
// a slash. It is shared as files are.
type dir struct {
	names []string
	fact  atomic.Pointer[string]
}

// New returns a Tree of the files, keyed by slash-separated path relative to
// the root of the source. The byte slices are kept, not copied: they must not
// change afterwards. A path that is absolute, not clean, leaves the root, or is
// both a file and a directory is an error. Files with a control character or
// invalid UTF-8 in their path are left out.
func New(files map[string][]byte) (*Tree, error) { return NewLike(files, nil) }

// NewLike is New for whoever holds another revision, or nil: what is the same in both is in memory once.
func NewLike(files map[string][]byte, like *Tree) (*Tree, error) {
	t := &Tree{
		files: make(map[string]*file, len(files)),
		dirs:  map[string]*dir{".": {}},
	}
	for name, data := range files {
		if !isText(name) {
			continue
		}
		if err := checkName(name); err != nil {
			return nil, err
		}
		f := like.sameFile(name, data)
		t.files[f.name] = f
		t.size += int64(len(data) + len(name) + fileBytes)
		t.addToParents(f.name)
	}
	for name, d := range t.dirs {
		if t.files[name] != nil {
			return nil, fmt.Errorf("tree: %q is a file and a directory", name)
		}
		slices.Sort(d.names)
		t.dirs[name] = like.sameDir(name, d)
	}
	return t, nil
}

func (t *Tree) sameFile(name string, data []byte) *file {
	if t != nil {
		if f := t.files[name]; f != nil && bytes.Equal(f.data, data) {
			return f
		}
	}
	return &file{name: name, data: data}
}

func (t *Tree) sameDir(name string, d *dir) *dir {
	if t != nil {
		if same := t.dirs[name]; same != nil && slices.Equal(same.names, d.names) {
			return same
		}
	}
	return d
}

// Len returns the number of files.
func (t *Tree) Len() int { return len(t.files) }

// fileBytes is about what a file takes beside its name and content, in maps and lists.
const fileBytes = 200

// Size returns about how many bytes the tree takes in memory, those shared with others included.
func (t *Tree) Size() int64 { return t.size }

func checkName(name string) error {
	switch {
	case name == "" || name == ".":
		return fmt.Errorf("tree: empty path")
	case len(name) > MaxPath:
		return fmt.Errorf("tree: path of %d bytes, at most %d are allowed", len(name), MaxPath)
	case path.IsAbs(name) || path.Clean(name) != name || name == ".." || strings.HasPrefix(name, "../"):
		return fmt.Errorf("tree: %q is not a clean path below the root", name)
	}
	return nil
}

// isText tells the names that a Tree can hold. The others need not be recorded
// when they are looked up, and should not: kustomize looks up texts of many
// lines too, in case they are names.
func isText(name string) bool {
	return utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl)
}

// addToParents enters name in its directory, and new directories in theirs.
func (t *Tree) addToParents(name string) {
	for slash := ""; name != "."; slash = "/" {
		parent, base := path.Dir(name), path.Base(name)
		d, known := t.dirs[parent]
		if !known {
			d = &dir{}
			t.dirs[parent] = d
		}
		d.names = append(d.names, base+slash)
		if known {
			return
		}
		name = parent
	}
}

// Check returns what check says of the named file, asking it once for all
// renders of t and of what shares the file with it. There is one check: a caller always passes the same.
func (t *Tree) Check(name string, check func(data []byte) error) error {
	f := t.files[name]
	if f == nil {
		return notExist(name)
	}
	if v := f.verdict.Load(); v != nil {
		return v.err
	}
	v := &verdict{err: check(f.data)}
	f.verdict.Store(v)
	return v.err
}

// verdict is the stored result of a check.
type verdict struct{ err error }

// All yields every file.
func (t *Tree) All() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for name, f := range t.files {
			if !yield(name, f.data) {
				return
			}
		}
	}
}

package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// ErrInvalid marks an archive, or a list of files, that breaks the rules.
var ErrInvalid = errors.New("invalid archive")

// ErrTooLarge marks an archive that is over a limit.
var ErrTooLarge = errors.New("archive over the limit")

// File is one regular file of a source tree.
type File struct {
	// Path is relative and slash-separated.
	Path       string
	Executable bool
	// Size is the number of bytes that Open yields; negative when only Open
	// tells, and then the content is taken into memory while it is packed.
	Size int64
	Open func() (io.ReadCloser, error)
}

// Bytes is a File held in memory.
func Bytes(name string, executable bool, data []byte) File {
	return File{Path: name, Executable: executable, Size: int64(len(data)), Open: func() (io.ReadCloser, error) {
		return InMemory(data), nil
	}}
}

// InMemory is what Open may return for a content that it has just read.
func InMemory(data []byte) io.ReadCloser { return inMemory{bytes.NewReader(data)} }

type inMemory struct{ *bytes.Reader }

func (inMemory) Close() error { return nil }

// CheckPath refuses every name that is not a plain path below the root: empty,
// absolute, not in its shortest form, with `..`, a NUL byte or a backslash
// (which consumers of artifacts refuse).
func CheckPath(name string) error {
	if name == "" || name == "." || strings.ContainsAny(name, "\x00\\") ||
		path.Clean(name) != name || !filepath.IsLocal(name) {
		return fmt.Errorf("%w: path %q", ErrInvalid, name)
	}
	return nil
}

// sorted returns the files in the order of the archive after checking that
// their names are valid, unique, and that no file is another one's directory.
func sorted(files []File) ([]File, error) {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	names := make(map[string]bool, len(files))
	for _, f := range files {
		if err := CheckPath(f.Path); err != nil {
			return nil, err
		}
		if names[f.Path] {
			return nil, fmt.Errorf("%w: %q occurs twice", ErrInvalid, f.Path)
		}
		names[f.Path] = true
	}
	for _, f := range files {
		if err := checkParents(f.Path, func(dir string) bool { return names[dir] }); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func checkParents(name string, isFile func(string) bool) error {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if isFile(dir) {
			return fmt.Errorf("%w: %q is a file and a directory", ErrInvalid, dir)
		}
	}
	return nil
}

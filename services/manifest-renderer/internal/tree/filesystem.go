package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// errReadOnly answers every attempt to write.
var errReadOnly = errors.New("the source is read-only")

// fileSystem shows a View to kustomize, whose paths are absolute below Root.
type fileSystem struct{ *View }

// FileSystem returns v as kustomize's file system.
func (v *View) FileSystem() filesys.FileSystem { return fileSystem{v} }

// Relative turns an absolute path below Root, or a path relative to it, into a
// name in the tree; ok is false for a path that is outside.
func Relative(p string) (name string, ok bool) {
	if path.IsAbs(p) {
		p = path.Clean(p)
		if p == Root {
			return ".", true
		}
		return strings.CutPrefix(p, Root+"/")
	}
	p = path.Clean(p)
	return p, p != ".." && !strings.HasPrefix(p, "../")
}

func (f fileSystem) Exists(p string) bool { return f.kind(p) != Absent }

func (f fileSystem) IsDir(p string) bool { return f.kind(p) == Directory }

func (f fileSystem) kind(p string) Kind {
	name, ok := Relative(p)
	if !ok {
		return Absent
	}
	return f.Stat(name)
}

func (f fileSystem) ReadFile(p string) ([]byte, error) {
	name, ok := Relative(p)
	if !ok {
		return nil, outside(p)
	}
	return f.Read(name)
}

func (f fileSystem) ReadDir(p string) ([]string, error) {
	name, ok := Relative(p)
	if !ok {
		return nil, outside(p)
	}
	names, err := f.List(name)
	if err != nil {
		return nil, err
	}
	plain := make([]string, len(names))
	for i, n := range names {
		plain[i] = strings.TrimSuffix(n, "/")
	}
	return plain, nil
}

func (f fileSystem) CleanedAbs(p string) (filesys.ConfirmedDir, string, error) {
	name, ok := Relative(p)
	if !ok {
		return "", "", outside(p)
	}
	abs := path.Join(Root, name)
	switch f.Stat(name) {
	case Directory:
		return filesys.ConfirmedDir(abs), "", nil
	case File:
		return filesys.ConfirmedDir(path.Dir(abs)), path.Base(abs), nil
	}
	return "", "", notExist(name)
}

// Glob matches one directory after the other, so that exactly the directories
// whose names decide are recorded as listed.
func (f fileSystem) Glob(pattern string) ([]string, error) {
	name, ok := Relative(pattern)
	if !ok {
		return nil, nil
	}
	if _, err := path.Match(name, ""); err != nil {
		return nil, fmt.Errorf("glob %q: %w", pattern, err)
	}
	found := []string{"."}
	for part := range strings.SplitSeq(name, "/") {
		found = f.globPart(found, part)
	}
	if path.IsAbs(pattern) {
		for i := range found {
			found[i] = path.Join(Root, found[i])
		}
	}
	return found, f.Err()
}

func (f fileSystem) globPart(dirs []string, part string) (found []string) {
	for _, dir := range dirs {
		if !strings.ContainsAny(part, `*?[\`) {
			if name := path.Join(dir, part); f.Stat(name) != Absent {
				found = append(found, name)
			}
			continue
		}
		if f.Stat(dir) != Directory {
			continue
		}
		names, _ := f.List(dir) // an error stays in the view
		for _, n := range names {
			n = strings.TrimSuffix(n, "/")
			if ok, _ := path.Match(part, n); ok {
				found = append(found, path.Join(dir, n))
			}
		}
	}
	return found
}

// Walk visits p and all below it in lexical order, as filepath.Walk does.
func (f fileSystem) Walk(p string, visit filepath.WalkFunc) error {
	name, ok := Relative(p)
	if !ok {
		return visit(p, nil, outside(p))
	}
	kind := f.Stat(name)
	if kind == Absent {
		return visit(p, nil, notExist(name))
	}
	err := f.walk(p, name, kind == Directory, visit)
	if errors.Is(err, filepath.SkipDir) || errors.Is(err, filepath.SkipAll) {
		return nil
	}
	return err
}

func (f fileSystem) walk(p, name string, isDir bool, visit filepath.WalkFunc) error {
	if err := visit(p, f.info(name, isDir), nil); err != nil || !isDir {
		return err
	}
	names, err := f.List(name)
	if err != nil {
		return visit(p, f.info(name, isDir), err)
	}
	for _, n := range names {
		base, isDir := strings.CutSuffix(n, "/")
		err := f.walk(path.Join(p, base), path.Join(name, base), isDir, visit)
		if errors.Is(err, filepath.SkipDir) && isDir {
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Open is for readers of whole files only; kustomize's builds do not use it.
func (f fileSystem) Open(p string) (filesys.File, error) {
	data, err := f.ReadFile(p)
	if err != nil {
		return nil, err
	}
	name, _ := Relative(p)
	return &openFile{info: info{name: path.Base(name), size: int64(len(data))}, rest: data}, nil
}

func (fileSystem) Create(string) (filesys.File, error) { return nil, errReadOnly }
func (fileSystem) Mkdir(string) error                  { return errReadOnly }
func (fileSystem) MkdirAll(string) error               { return errReadOnly }
func (fileSystem) RemoveAll(string) error              { return errReadOnly }
func (fileSystem) WriteFile(string, []byte) error      { return errReadOnly }

func outside(p string) error {
	return &fs.PathError{Op: "open", Path: p, Err: errors.New("outside of the source")}
}

// info tells only what a path's name and kind are: a size or a time would be
// an answer that is not recorded.
func (f fileSystem) info(name string, isDir bool) os.FileInfo {
	return info{name: path.Base(name), dir: isDir}
}

type info struct {
	name string
	size int64
	dir  bool
}

func (i info) Name() string     { return i.name }
func (i info) Size() int64      { return i.size }
func (info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool      { return i.dir }
func (info) Sys() any           { return nil }
func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"
)

// Root is the absolute path at which a View shows the tree. It is not "/", so
// that a path with too many ".." is seen to leave the tree instead of being
// silently clamped to its root.
const Root = "/source"

// ErrTooMuch is the cause when a render asks for more than its Budget.
var ErrTooMuch = errors.New("too much to read")

// Budget bounds what one View answers. Every question takes one from Lookups,
// and every read its size from Bytes.
type Budget struct {
	Lookups int
	Bytes   int64
}

// View is one render's file system: the tree, and over it the render's own
// generated files. It is read-only for its user, records what it answers, and
// serves one goroutine.
type View struct {
	ctx     context.Context // of the one render that the view lives for
	tree    *Tree
	overlay map[string][]byte
	shown   map[string][]byte // in place of what the tree holds
	mounts  map[string]*Tree  // below MountRoot
	facts   map[string]string
	foreign map[string]bool // files of mounts that were read
	budget  Budget
	failed  error

	// OnRead is shown every file before it is handed out. It returns what is handed out, or refuses it.
	OnRead func(name string, data []byte) ([]byte, error)
}

// NewView returns a View of t. Once ctx ends it answers nothing any more, which
// is what stops a build that nobody waits for.
func NewView(ctx context.Context, t *Tree, budget Budget) *View {
	return &View{ctx: ctx, tree: t, facts: make(map[string]string), budget: budget}
}

// Overlay lays a generated file over the tree. Reading it is not recorded.
func (v *View) Overlay(name string, data []byte) {
	if v.overlay == nil {
		v.overlay = make(map[string][]byte)
	}
	v.overlay[name] = data
}

// Show makes reads of a file of the tree give data, which was made from the
// file's content alone: reading is recorded as reading the file.
func (v *View) Show(name string, data []byte) {
	if v.shown == nil {
		v.shown = make(map[string][]byte)
	}
	v.shown[name] = data
}

// Shown returns what Show was given for the file, and whether it was.
func (v *View) Shown(name string) ([]byte, bool) {
	data, ok := v.shown[name]
	return data, ok
}

// ReadSet returns what was asked so far, without what follows from the listing
// of the directory above.
func (v *View) ReadSet() ReadSet {
	facts := make(map[string]string, len(v.facts))
	for name, fact := range v.facts {
		if !v.listed(path.Dir(name)) || fact[0] == wasRead || fact[0] == wasListed || name == "." {
			if f := v.tree.files[name]; f != nil {
				name = f.name // which all read-sets share
			}
			facts[name] = fact
		}
	}
	return ReadSet{facts: facts}
}

func (v *View) listed(dir string) bool {
	fact := v.facts[dir]
	return fact != "" && fact[0] == wasListed
}

// Check is Tree.Check for a file whose reading v has recorded. Generated files
// and shown files are checked each time.
func (v *View) Check(name string, check func(data []byte) error) error {
	if data, ok := v.overlay[name]; ok {
		return check(data)
	}
	if data, ok := v.shown[name]; ok {
		return check(data)
	}
	t, rest := v.at(name)
	return t.Check(rest, check)
}

// Err returns why v stopped answering, or nil: the end of its context, a spent
// budget, or the refusal of OnRead. A reader may have swallowed that error.
func (v *View) Err() error { return v.failed }

// Files are the files that were read, in order of their names, those of mounts
// last, generated ones left out.
func (v *View) Files() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, name := range slices.Sorted(maps.Keys(v.facts)) {
			if v.facts[name][0] == wasRead && !yield(name, v.content(name)) {
				return
			}
		}
		for _, name := range slices.Sorted(maps.Keys(v.foreign)) {
			if !yield(name, v.content(name)) {
				return
			}
		}
	}
}

func (v *View) content(name string) []byte {
	if data, ok := v.shown[name]; ok {
		return data
	}
	t, rest := v.at(name)
	return t.files[rest].data
}

// Fail makes every later question fail with err. The first error stays.
func (v *View) Fail(err error) error {
	if v.failed == nil {
		v.failed = err
	}
	return v.failed
}

// Kind tells what name, relative to the root of the tree, is.
type Kind int

// What a name can be.
const (
	Absent Kind = iota
	File
	Directory
)

// Stat looks name up, and records that.
func (v *View) Stat(name string) Kind {
	if v.spend(0) != nil {
		return Absent
	}
	return v.stat(name)
}

func (v *View) stat(name string) Kind {
	if _, ok := v.overlay[name]; ok {
		return File
	}
	if len(name) > MaxPath || !isText(name) {
		return Absent // no tree holds such a name: nothing to record
	}
	switch fact := v.ask(name, isFile); fact[0] {
	case isFile:
		return File
	case isDir:
		return Directory
	}
	return Absent
}

// Read returns the content of the named file, and records that.
func (v *View) Read(name string) ([]byte, error) {
	data, ok := v.overlay[name]
	if !ok {
		switch v.stat(name) {
		case Absent:
			return nil, notExist(name)
		case Directory:
			return nil, fmt.Errorf("%s is a directory", name)
		}
		data = v.content(name)
		v.ask(name, wasRead)
	}
	if err := v.spend(len(data)); err != nil {
		return nil, err
	}
	if v.OnRead != nil {
		data, err := v.OnRead(name, data)
		if err != nil {
			return nil, v.Fail(err)
		}
		return data, nil
	}
	return data, nil
}

// List returns the sorted names in the named directory, those of directories
// with a slash at their end, and records that.
func (v *View) List(name string) ([]string, error) {
	if err := v.spend(0); err != nil {
		return nil, err
	}
	switch v.stat(name) {
	case Absent:
		return nil, notExist(name)
	case File:
		return nil, fmt.Errorf("%s is not a directory", name)
	}
	v.ask(name, wasListed)
	t, rest := v.at(name)
	return v.withOverlay(name, t.dirs[rest].names), nil
}

// ask is the answer to a question about name, recorded where it is one about
// the source.
func (v *View) ask(name string, kind byte) string {
	t, rest := v.at(name)
	fact := t.answer(rest, kind)
	if t == v.tree {
		v.record(name, fact)
	} else if kind == wasRead {
		if v.foreign == nil {
			v.foreign = make(map[string]bool)
		}
		v.foreign[name] = true
	}
	return fact
}

// withOverlay adds the overlay's files in dir to names.
func (v *View) withOverlay(dir string, names []string) []string {
	for generated := range v.overlay {
		base := path.Base(generated)
		if path.Dir(generated) != dir || slices.Contains(names, base) {
			continue
		}
		names = append(slices.Clone(names), base)
		slices.Sort(names)
	}
	return names
}

// record keeps fact unless more is known of name already. Facts about one path
// never contradict each other, as the tree does not change.
func (v *View) record(name, fact string) {
	if known := v.facts[name]; known == "" || says(fact) > says(known) {
		v.facts[name] = fact
	}
}

func says(fact string) int { return strings.IndexByte("-xdfl", fact[0]) }

func (v *View) spend(bytes int) error {
	if v.failed != nil {
		return v.failed
	}
	if err := v.ctx.Err(); err != nil {
		return v.Fail(err)
	}
	v.budget.Lookups--
	v.budget.Bytes -= int64(bytes)
	if v.budget.Lookups < 0 || v.budget.Bytes < 0 {
		return v.Fail(ErrTooMuch)
	}
	return nil
}

func notExist(name string) error {
	return &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

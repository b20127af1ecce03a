package git

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/go-git/go-git/v5/plumbing"
)

// ErrUnknown says that an object is not in the mirror: it lies beyond the history
// that was fetched.
var ErrUnknown = errors.New("not in the mirror")

// Entry is a file, symbolic link or submodule of a commit.
type Entry struct {
	Path string
	Hash string
	kind kind
}

// Regular reports whether the entry is a file with content of its own.
func (e Entry) Regular() bool { return e.kind <= executableFile }

// List returns what is at a slash-separated path and below, in git's order; empty
// stands for the root. A path that is not there is ErrNotFound.
func (s *Snapshot) List(ctx context.Context, at string) (entries []Entry, err error) {
	err = s.read(ctx, "list the files", func(o *objects) error {
		entries = nil
		found, err := lookUp(ctx, o, s.Commit.Tree, cleaned(at))
		if err != nil {
			return err
		}
		add := func(e entry) error {
			entries = append(entries, Entry{e.name, e.hash, e.kind})
			return nil
		}
		if found.kind != directory {
			return add(found)
		}
		w := &walker{objects: o, left: s.resolved.mirrors.limits.Entries, visit: add}
		return w.walk(ctx, found.hash, found.name, 0)
	})
	return entries, err
}

// Entry returns what a commit has at a path. ok is false when there is nothing
// or a directory.
func (s *Snapshot) Entry(ctx context.Context, commit Commit, at string) (e Entry, ok bool, err error) {
	err = s.read(ctx, "look up a file", func(o *objects) error {
		found, err := lookUp(ctx, o, commit.Tree, cleaned(at))
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		e, ok = Entry{found.name, found.hash, found.kind}, err == nil && found.kind != directory
		return err
	})
	return e, ok, err
}

func cleaned(at string) string { return path.Clean("/" + at)[1:] }

// lookUp walks down to a path; the entry's name is the whole path.
func lookUp(ctx context.Context, o *objects, tree, at string) (entry, error) {
	here := entry{kind: directory, hash: tree}
	for rest := at; rest != ""; {
		if here.kind != directory {
			return entry{}, fmt.Errorf("%q: %w", at, ErrNotFound)
		}
		entries, err := readTree(ctx, o, here.hash)
		if err != nil {
			return entry{}, err
		}
		var name string
		name, rest = cut(rest)
		next, ok := named(entries, name)
		if !ok {
			return entry{}, fmt.Errorf("%q: %w", at, ErrNotFound)
		}
		next.name = join(here.name, name)
		here = next
	}
	return here, nil
}

func cut(name string) (first, rest string) {
	for i := range len(name) {
		if name[i] == '/' {
			return name[:i], name[i+1:]
		}
	}
	return name, ""
}

func named(entries []entry, name string) (entry, bool) {
	for _, e := range entries {
		if e.name == name {
			return e, true
		}
	}
	return entry{}, false
}

// Blob returns the content of a file of at most limit bytes, or ErrTooLarge.
func (s *Snapshot) Blob(ctx context.Context, hash string, limit int64) (content []byte, err error) {
	err = s.read(ctx, "read a file", func(o *objects) (err error) {
		content, err = o.read(ctx, plumbing.BlobObject, hash, limit)
		return err
	})
	return content, err
}

// RawTree returns a directory as it is encoded, after checking its names.
func (s *Snapshot) RawTree(ctx context.Context, hash string) (content []byte, err error) {
	err = s.read(ctx, "read a directory", func(o *objects) (err error) {
		if content, err = o.read(ctx, plumbing.TreeObject, hash, maxTreeBytes); err == nil {
			_, err = parseTree(content)
		}
		return err
	})
	return content, err
}

// Ancestor returns a commit that the snapshot's stands on. It is ErrUnknown when it
// is beyond the history that was fetched, see Deepen.
func (s *Snapshot) Ancestor(ctx context.Context, hash string) (Commit, error) {
	c, err := readCommit(ctx, s.objects, hash)
	if errors.Is(err, errDamaged) && !errors.Is(err, plumbing.ErrObjectNotFound) {
		if err := s.reopen(ctx, err); err != nil {
			return Commit{}, err
		}
		err = plumbing.ErrObjectNotFound // the fresh mirror has no history
	}
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return Commit{}, fmt.Errorf("commit %s: %w", hash, ErrUnknown)
	}
	return c, err
}

// Deepen fetches the history of the commit, so many generations of it.
func (s *Snapshot) Deepen(ctx context.Context, generations int) error {
	m := s.resolved.mirror
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.unlock()
	if m.generation != s.objects.generation { // thrown away by somebody else
		fresh, err := s.resolved.refetch(ctx, s.target)
		if err != nil {
			return err
		}
		s.objects = fresh.objects
	}
	if err := m.deepen(ctx, s.resolved.client, s.Commit.Hash, generations); err != nil {
		return fmt.Errorf("unable to fetch the history of '%s' at %s: %w", display(s.resolved.url), s.Revision, err)
	}
	s.objects = m.objects()
	s.resolved.readers = append(s.resolved.readers, s.objects)
	return nil
}

package git

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/sluice-cd/sluice/libs/archive"
)

// Selection says which files of a commit belong to the artifact.
type Selection struct {
	// Ignore is spec.ignore.
	Ignore *string
	// Sparse is spec.sparseCheckout: directories outside of which nothing counts.
	Sparse []string
}

// Files returns the regular files of the commit, sorted by path and read into
// memory: those that spec.sparseCheckout selects and the ignore rules leave.
// Symbolic links and submodules are left out, as they are in Flux's artifacts.
func (s *Snapshot) Files(ctx context.Context, sel Selection) ([]archive.File, error) {
	var files []archive.File
	err := s.read(ctx, "read the files", func(o *objects) (err error) {
		files, err = s.files(ctx, o, sel)
		return err
	})
	return files, err
}

func (s *Snapshot) files(ctx context.Context, o *objects, sel Selection) ([]archive.File, error) {
	limits := s.resolved.mirrors.limits
	entries, err := regular(ctx, o, s.Commit.tree, limits.Entries, sparseDirs(sel.Sparse))
	if err != nil {
		return nil, err
	}
	ignored, err := ignoreRules(ctx, o, entries, sel.Ignore)
	if err != nil {
		return nil, err
	}
	left := limits.TotalBytes
	var files []archive.File
	for _, e := range entries {
		if ignored(e.name) {
			continue
		}
		if err := archive.CheckPath(e.name); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalidTree, err)
		}
		content, err := o.read(ctx, plumbing.BlobObject, e.hash, min(left, limits.FileBytes))
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", e.name, err)
		}
		left -= int64(len(content))
		files = append(files, archive.Bytes(e.name, e.kind == executableFile, content))
	}
	return files, nil
}

// regular lists the regular files below the chosen directories, sorted by path.
func regular(ctx context.Context, o *objects, tree string, limit int, dirs sparse) ([]entry, error) {
	var entries []entry
	w := &walker{objects: o, left: limit, enter: dirs.enter, visit: func(e entry) error {
		if e.kind <= executableFile && dirs.holds(e.name) {
			entries = append(entries, e)
		}
		return nil
	}}
	if err := w.walk(ctx, tree, "", 0); err != nil {
		return nil, err
	}
	if missing := dirs.missing(); missing != "" {
		return nil, fmt.Errorf("sparse checkout dir '%s' does not exist in repository: %w", missing, ErrNotFound)
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	return entries, nil
}

// sparse maps the chosen directories to whether they were met. Empty means
// everything.
type sparse map[string]bool

func sparseDirs(dirs []string) sparse {
	chosen := sparse{}
	for _, dir := range dirs {
		if dir = path.Clean("/" + dir)[1:]; dir == "" {
			return sparse{}
		}
		chosen[dir] = false
	}
	return chosen
}

// enter is true for directories on the way to a chosen one and below.
func (s sparse) enter(dir string) bool {
	if len(s) == 0 {
		return true
	}
	if _, chosen := s[dir]; chosen {
		s[dir] = true
	}
	for chosen := range s {
		if strings.HasPrefix(chosen, dir+"/") || strings.HasPrefix(dir+"/", chosen+"/") {
			return true
		}
	}
	return false
}

func (s sparse) holds(name string) bool {
	if len(s) == 0 {
		return true
	}
	held := false
	for chosen := range s {
		if name == chosen { // a file may be named, too
			s[chosen] = true
		}
		held = held || name == chosen || strings.HasPrefix(name, chosen+"/")
	}
	return held
}

func (s sparse) missing() string {
	var missing []string
	for dir, met := range s {
		if !met {
			missing = append(missing, dir)
		}
	}
	slices.Sort(missing)
	return strings.Join(missing, "', '")
}

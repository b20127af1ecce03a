package git

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/sluice-cd/sluice/libs/archive"
)

// Selection says which files of a commit, and of what belongs to it, belong to
// the artifact.
type Selection struct {
	// Ignore is spec.ignore.
	Ignore *string
	// Sparse is spec.sparseCheckout: directories outside of which nothing counts.
	Sparse []string
	// Submodules is spec.recurseSubmodules.
	Submodules bool
	// Included are files of other sources, by their paths here. spec.ignore and
	// .sourceignore files count for them, spec.sparseCheckout does not.
	Included []archive.File
}

// content is a file whose content is still to be read.
type content struct {
	path       string
	executable bool
	// read returns at most limit bytes, or ErrTooLarge.
	read func(ctx context.Context, limit int64) ([]byte, error)
}

// Files returns the regular files of the commit, sorted by path: those that
// spec.sparseCheckout selects and the ignore rules leave. Their contents are read
// when they are opened, as long as the Resolved is open, and their sizes are not
// known before. Symbolic links are left out, as they are in Flux's artifacts, and
// submodules where they are not asked for.
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
	c := &collector{scope: sparseDirs(sel.Sparse), submodules: sel.Submodules, left: limits.Entries, owner: s.resolved}
	if err := c.commit(ctx, s, o, "", 0); err != nil {
		return nil, err
	}
	if missing := c.scope.missing(); missing != "" {
		return nil, fmt.Errorf("sparse checkout dir '%s' does not exist in repository: %w", missing, ErrNotFound)
	}
	c.include(sel.Included)
	slices.SortFunc(c.found, func(a, b content) int { return cmp.Compare(a.path, b.path) })
	ignored, err := ignoreRules(ctx, c.found, sel.Ignore)
	if err != nil {
		return nil, err
	}
	return chosen(ctx, c.found, ignored, limits)
}

// chosen are the files that are not ignored. What is read of them all together
// is bounded.
func chosen(ctx context.Context, found []content, ignored func(string) bool, limits Limits) ([]archive.File, error) {
	left := limits.TotalBytes
	var files []archive.File
	for _, f := range found {
		if ignored(f.path) {
			continue
		}
		if err := archive.CheckPath(f.path); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalidTree, err)
		}
		if len(f.path) > maxPath {
			return nil, fmt.Errorf("%w: a path of %d bytes", ErrInvalidTree, len(f.path))
		}
		files = append(files, archive.File{Path: f.path, Executable: f.executable, Size: -1, Open: func() (io.ReadCloser, error) {
			data, err := f.read(ctx, min(left, limits.FileBytes))
			left -= int64(len(data))
			return archive.InMemory(data), err
		}})
	}
	return files, nil
}

// collector lists the regular files of a commit and of its submodules.
type collector struct {
	scope      sparse
	submodules bool
	// left and modules bound all commits together.
	left, modules int
	found         []content
	// owner keeps what submodules were found for, until it is closed itself.
	owner *Resolved
}

// commit adds the files of a snapshot below a directory; empty for the root.
func (c *collector) commit(ctx context.Context, s *Snapshot, o *objects, dir string, depth int) error {
	var links []entry
	w := &walker{
		objects: o, left: c.left,
		enter: func(path string) bool { return c.scope.enter(join(dir, path)) },
		visit: func(e entry) error {
			path := join(dir, e.name)
			if e.kind <= executableFile && c.scope.holds(path) {
				c.found = append(c.found, content{path, e.kind == executableFile, s.reader(e, depth)})
			} else if e.kind == submodule && c.submodules && c.scope.enter(path) {
				links = append(links, e)
			}
			return nil
		},
	}
	if err := w.walk(ctx, s.Commit.tree, "", 0); err != nil {
		return err
	}
	if c.left = w.left; len(links) == 0 {
		return nil
	}
	return c.follow(ctx, s, o, links, dir, depth)
}

// reader reads a file of the snapshot, also when its mirror has to be replaced.
func (s *Snapshot) reader(e entry, depth int) func(context.Context, int64) ([]byte, error) {
	return func(ctx context.Context, limit int64) (data []byte, err error) {
		err = s.read(ctx, "read the files", func(o *objects) (err error) {
			data, err = o.read(ctx, plumbing.BlobObject, e.hash, limit)
			return err
		})
		if depth > 0 {
			err = ownFault(err)
		}
		return data, err
	}
}

func (c *collector) include(files []archive.File) {
	for _, f := range files {
		c.found = append(c.found, content{f.Path, f.Executable, func(_ context.Context, limit int64) ([]byte, error) {
			if f.Size > limit {
				return nil, ErrTooLarge
			}
			r, err := f.Open()
			if err != nil {
				return nil, err
			}
			defer r.Close()
			return io.ReadAll(r)
		}})
	}
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

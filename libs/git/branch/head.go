package branch

import (
	"context"

	"github.com/sluice-cd/sluice/libs/git"
)

// Head is a commit that can be read as long as its Branch is open.
type Head struct {
	snapshot *git.Snapshot
	depth    int // of the history that was fetched for it
	past     past
}

// past is what was read of the history: many files are asked about, and most commits touch few of their directories.
type past struct {
	commits     map[string]git.Commit
	directories map[directory]string // the hashes of their trees
}

type directory struct{ commit, path string }

// maxPast is how many directories are remembered.
const maxPast = 200_000

// ancestor is Snapshot.Ancestor, once for each commit.
func (h *Head) ancestor(ctx context.Context, hash string) (git.Commit, error) {
	if c, ok := h.past.commits[hash]; ok {
		return c, nil
	}
	c, err := h.snapshot.Ancestor(ctx, hash)
	if err != nil {
		return c, err
	}
	if h.past.commits == nil {
		h.past.commits = map[string]git.Commit{}
	}
	h.past.commits[hash] = c
	return c, nil
}

// sameDirectory says whether a directory is the same in two commits, with all that is below it.
func (h *Head) sameDirectory(ctx context.Context, a, b git.Commit, at string) (bool, error) {
	if a.Tree == b.Tree {
		return true, nil
	}
	first, err := h.directory(ctx, a, at)
	if err != nil {
		return false, err
	}
	second, err := h.directory(ctx, b, at)
	return first == second, err
}

// directory is the hash of a directory's tree; empty where there is none.
func (h *Head) directory(ctx context.Context, c git.Commit, at string) (string, error) {
	if at == "." {
		return c.Tree, nil
	}
	key := directory{c.Hash, at}
	if hash, ok := h.past.directories[key]; ok {
		return hash, nil
	}
	e, _, err := h.snapshot.Entry(ctx, c, at)
	if err != nil {
		return "", err
	}
	if h.past.directories == nil || len(h.past.directories) == maxPast {
		h.past.directories = map[directory]string{}
	}
	h.past.directories[key] = e.Hash
	return e.Hash, nil
}

// Commit is what the commit says of itself.
func (h *Head) Commit() git.Commit { return h.snapshot.Commit }

// Hash is that of the commit.
func (h *Head) Hash() string { return h.snapshot.Commit.Hash }

// Revision is the commit and the ref that led to it.
func (h *Head) Revision() git.Revision { return h.snapshot.Revision }

func (h *Head) reference() string { return h.snapshot.Revision.Reference }

// List returns what is at a path and below, in git's order; empty or "." stands for the
// root. Symbolic links and submodules are among it, see git.Entry. A path that is not
// there is git.ErrNotFound.
func (h *Head) List(ctx context.Context, at string) ([]git.Entry, error) {
	return h.snapshot.List(ctx, at)
}

// Read returns the content of a file, by the hash of its entry, of at most limit
// bytes; more is git.ErrTooLarge. Nobody may change the content.
func (h *Head) Read(ctx context.Context, hash string, limit int64) ([]byte, error) {
	return h.snapshot.Blob(ctx, hash, limit)
}

package branch

import (
	"context"

	"github.com/sluice-cd/sluice/libs/git"
)

// Head is a commit that can be read as long as its Branch is open.
type Head struct {
	snapshot *git.Snapshot
	depth    int // of the history that was fetched for it
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

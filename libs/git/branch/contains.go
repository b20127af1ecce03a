package branch

import (
	"context"
	"errors"

	"github.com/sluice-cd/sluice/libs/git"
)

// Contains reports whether a commit is the head or one that it stands on, looking
// back at most so many generations. known is false when the commit was not found and
// the history goes on. What is missing of it is fetched.
func (h *Head) Contains(ctx context.Context, commit string, generations int) (found, known bool, err error) {
	return h.standsOn(ctx, h.Hash(), commit, generations)
}

// standsOn is Contains from a commit of the head's history on.
func (h *Head) standsOn(ctx context.Context, from, commit string, generations int) (found, known bool, err error) {
	for depth := min(firstDepth, generations); ; depth = min(depth*4, generations) {
		found, unknown, err := h.search(ctx, from, commit, generations)
		if err != nil || found {
			return found, true, err
		}
		if !unknown || depth == generations && h.depth >= depth {
			return false, !unknown, nil
		}
		if err := h.deepen(ctx, depth); err != nil {
			return false, false, err
		}
	}
}

func (h *Head) search(ctx context.Context, from, commit string, generations int) (found, unknown bool, err error) {
	start, err := h.snapshot.Ancestor(ctx, from)
	if errors.Is(err, git.ErrUnknown) {
		return false, true, nil
	}
	if err != nil {
		return false, false, err
	}
	var queue queue
	queue.add(start, 1)
	for len(queue.waiting) > 0 {
		c := queue.next()
		if c.commit.Hash == commit {
			return true, false, nil
		}
		for _, hash := range c.commit.Parents {
			if hash == commit {
				return true, false, nil
			}
			if c.generation == generations {
				unknown = true
				continue
			}
			parent, err := h.snapshot.Ancestor(ctx, hash)
			if errors.Is(err, git.ErrUnknown) {
				unknown = true
				continue
			}
			if err != nil {
				return false, false, err
			}
			queue.add(parent, c.generation+1)
		}
	}
	return false, unknown, nil
}

package branch

import (
	"context"
	"errors"

	"github.com/sluice-cd/sluice/libs/git"
)

// Others reports whether the branch to push to has a commit that its base lacks and that
// somebody else is the author of. It follows first parents, at most so many generations;
// what is missing of them is fetched.
func (b *Branch) Others(ctx context.Context, author Person, generations int) (bool, error) {
	c, found, err := b.Head().latestNotBy(ctx, author, generations)
	if err != nil || !found {
		return false, err
	}
	merged, _, err := b.Base().Contains(ctx, c.Hash, generations)
	return !merged, err
}

// Made reports whether the person is the author of a commit.
func (p Person) Made(c git.Commit) bool {
	return p.clean() == Person{c.Author.Name, c.Author.Email}
}

// latestNotBy finds the latest commit on the line of first parents with another author.
func (h *Head) latestNotBy(ctx context.Context, author Person, generations int) (git.Commit, bool, error) {
	c, depth := h.Commit(), min(firstDepth, generations)
	for range generations {
		if !author.Made(c) {
			return c, true, nil
		}
		if len(c.Parents) == 0 {
			return c, false, nil
		}
		parent, err := h.snapshot.Ancestor(ctx, c.Parents[0])
		for errors.Is(err, git.ErrUnknown) && h.depth < generations {
			if err = h.deepen(ctx, depth); err == nil {
				parent, err = h.snapshot.Ancestor(ctx, c.Parents[0])
			}
			depth = min(depth*4, generations)
		}
		if errors.Is(err, git.ErrUnknown) {
			return c, false, nil
		}
		if err != nil {
			return c, false, err
		}
		c = parent
	}
	return c, false, nil
}

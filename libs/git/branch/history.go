package branch

import (
	"context"
	"errors"
	"path"

	"github.com/sluice-cd/sluice/libs/git"
)

// DefaultGenerations is how far a look into the past goes where nothing else is said.
const DefaultGenerations = 256

// firstDepth is how many generations are fetched first.
const firstDepth = 32

// Touch is a commit that changed a path.
type Touch struct {
	Commit git.Commit
	// Before and After are the hashes of the file's content, for Head.Read; empty where
	// there was no file. With several parents Before is of the first.
	Before, After string
}

// Limit bounds a look into the past.
type Limit struct {
	// Generations are how far back it goes at most; the default is DefaultGenerations.
	Generations int
	// Touches ends it when so many were found; zero means all.
	Touches int
}

// History returns the commits that changed a path, the latest first, as git log
// does: a side of a merge that does not matter is left out. complete is false
// when the history goes on beyond the limit. What is missing of it is fetched.
func (h *Head) History(ctx context.Context, name string, limit Limit) (touches []Touch, complete bool, err error) {
	if limit.Generations == 0 {
		limit.Generations = DefaultGenerations
	}
	for depth := min(firstDepth, limit.Generations); ; depth = min(depth*4, limit.Generations) {
		w := &pathWalk{head: h, path: name, limit: limit}
		unknown, err := w.walk(ctx)
		if err != nil {
			return nil, false, err
		}
		if !unknown || depth == limit.Generations && h.depth >= depth {
			return w.touches, !unknown && !w.cut, nil
		}
		if err := h.deepen(ctx, depth); err != nil {
			return nil, false, err
		}
	}
}

func (h *Head) deepen(ctx context.Context, depth int) error {
	if h.depth >= depth {
		return nil
	}
	if err := h.snapshot.Deepen(ctx, depth); err != nil {
		return err
	}
	h.depth = depth
	return nil
}

// pathWalk follows a path through the history.
type pathWalk struct {
	head    *Head
	path    string
	limit   Limit
	touches []Touch
	cut     bool // there are more touches
}

// walk reports whether it came to a commit that is not here.
func (w *pathWalk) walk(ctx context.Context) (unknown bool, err error) {
	var queue queue
	queue.add(w.head.Commit(), 1)
	for len(queue.waiting) > 0 {
		if w.limit.Touches > 0 && len(w.touches) == w.limit.Touches {
			w.cut = true
			return unknown, nil
		}
		c := queue.next()
		next, here, err := w.visit(ctx, c.commit)
		if err != nil {
			return false, err
		}
		if !here || c.generation == w.limit.Generations && len(next) > 0 {
			unknown = true
			continue
		}
		for _, parent := range next {
			queue.add(parent, c.generation+1)
		}
	}
	return unknown, nil
}

// visit compares a commit with its parents and returns those to follow. here is
// false when one of the parents is not in the mirror.
func (w *pathWalk) visit(ctx context.Context, c git.Commit) (next []git.Commit, here bool, err error) {
	after, before := "", ""
	for i, hash := range c.Parents {
		parent, err := w.head.ancestor(ctx, hash)
		if errors.Is(err, git.ErrUnknown) {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, err
		}
		same, err := w.head.sameDirectory(ctx, c, parent, path.Dir(w.path))
		if err != nil || same {
			return []git.Commit{parent}, true, err
		}
		if after, err = w.at(ctx, c); err != nil {
			return nil, false, err
		}
		was, err := w.at(ctx, parent)
		if err != nil {
			return nil, false, err
		}
		if was == after {
			return []git.Commit{parent}, true, nil
		}
		if i == 0 {
			before = was
		}
		next = append(next, parent)
	}
	if len(c.Parents) == 0 {
		if after, err = w.at(ctx, c); err != nil {
			return nil, false, err
		}
	}
	if len(c.Parents) > 0 || after != "" {
		w.touches = append(w.touches, Touch{Commit: c, Before: before, After: after})
	}
	return next, true, nil
}

func (w *pathWalk) at(ctx context.Context, c git.Commit) (string, error) {
	e, ok, err := w.head.snapshot.Entry(ctx, c, w.path)
	if err != nil || !ok {
		return "", err
	}
	return e.Hash, nil
}

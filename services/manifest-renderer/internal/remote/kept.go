package remote

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/render"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/tree"
)

// makeRoom forgets the address that was not asked for the longest, if there are too many, and reports whether there is room. The caller
// holds the lock.
func (f *Fetcher) makeRoom() bool {
	if len(f.entries) < mostEntries {
		return true
	}
	oldest := f.oldest(nil)
	if oldest != nil {
		delete(f.entries, oldest.address)
	}
	return oldest != nil
}

// oldest is the entry that was not asked for the longest, but never one that is being fetched.
func (f *Fetcher) oldest(but *entry) (oldest *entry) {
	for _, e := range f.entries {
		if e != but && !e.running && (oldest == nil || e.used.Before(oldest.used)) {
			oldest = e
		}
	}
	return oldest
}

// keep stores the outcome of a fetch, and forgets others until what is kept is within bounds.
func (f *Fetcher) keep(e *entry, remote render.Remote, err error) (waiting map[waiter]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	waiting = e.waiting
	e.remote, e.err, e.at, e.running, e.waiting = remote, err, time.Now(), false, nil
	if err != nil {
		e.owed = maps.Clone(waiting) // a failure is not trusted for long, and they may take longer to come
	}
	for f.bytes() > f.options.KeptBytes {
		oldest := f.oldest(e)
		if oldest == nil {
			break
		}
		delete(f.entries, oldest.address)
	}
	return waiting
}

// bytes are those of all trees.
func (f *Fetcher) bytes() (total int64) {
	seen := map[*tree.Tree]bool{}
	for _, e := range f.entries {
		if t := e.remote.Tree; t != nil && !seen[t] {
			seen[t] = true
			total += t.Size()
		}
	}
	return total
}

// shared is the tree of a commit that another address led to.
func (f *Fetcher) shared(r *repository, id string) *tree.Tree {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.entries {
		other := e.target.repository
		if e.remote.Tree != nil && e.remote.ID == id && other != nil && other.url == r.url && other.submodules == r.submodules {
			return e.remote.Tree
		}
	}
	return nil
}

// checkSize bounds what one build holds in memory.
func checkSize(found map[render.Address]render.Remote) error {
	left, seen := int64(maxTree), map[*tree.Tree]bool{}
	for a, remote := range found {
		if !seen[remote.Tree] {
			seen[remote.Tree] = true
			left -= remote.Tree.Size()
		}
		if left < 0 {
			return &Error{a, fmt.Errorf("the remote bases of one kustomization have more than %d bytes together", int64(maxTree))}
		}
	}
	return nil
}

// shrink keeps the mirrors within bounds. A tree that is in memory needs no mirror; who comes for a mirror that went fetches all of it.
func (f *Fetcher) shrink(ctx context.Context) {
	if err := f.mirrors.Shrink(ctx, f.options.DiskBytes); err != nil && ctx.Err() == nil {
		f.options.Log.Warn("cannot bound the repositories of remote bases on disk", "err", err)
	}
}

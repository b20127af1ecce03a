package git

import (
	"context"
	"errors"
	"slices"
)

// ChangedPaths lists, sorted, the paths at which the commit and an earlier one
// differ, directories excluded and before any ignore rule. The earlier one is a
// revision string or a hash. known is false when it cannot be said, because the
// mirror does not have the earlier commit (any more) or because there are more
// than max paths: then everything may have changed.
func (s *Snapshot) ChangedPaths(ctx context.Context, previous string, max int) (paths []string, known bool, err error) {
	hash := HashOf(previous)
	if hash == "" || !s.resolved.mirror.has(hash) {
		return nil, false, nil
	}
	d := &differ{objects: s.objects, left: s.resolved.mirrors.limits.Entries, max: max}
	err = d.commits(ctx, hash, s.Commit)
	if errors.Is(err, errTooMany) || errors.Is(err, errDamaged) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	slices.Sort(d.paths)
	return d.paths, true, nil
}

var errTooMany = errors.New("too many changes")

// differ compares trees and visits only those that differ.
type differ struct {
	objects   *objects
	left, max int
	paths     []string
}

func (d *differ) commits(ctx context.Context, old string, current Commit) error {
	before, err := readCommit(ctx, d.objects, old)
	if err != nil {
		return err
	}
	if before.tree == current.tree {
		return nil
	}
	return d.trees(ctx, before.tree, current.tree, "", 0)
}

// trees compares two trees at one path. An empty hash stands for no tree.
func (d *differ) trees(ctx context.Context, old, current, dir string, depth int) error {
	before, err := d.tree(ctx, old, depth)
	if err != nil {
		return err
	}
	after, err := d.tree(ctx, current, depth)
	if err != nil {
		return err
	}
	for name, b := range before {
		if err := d.entries(ctx, b, after[name], join(dir, name), depth); err != nil {
			return err
		}
	}
	for name, a := range after {
		if _, met := before[name]; met {
			continue
		}
		if err := d.entries(ctx, entry{}, a, join(dir, name), depth); err != nil {
			return err
		}
	}
	return nil
}

func (d *differ) tree(ctx context.Context, hash string, depth int) (map[string]entry, error) {
	if hash == "" {
		return nil, nil
	}
	if depth > maxDepth {
		return nil, errTooMany
	}
	entries, err := readTree(ctx, d.objects, hash)
	if err != nil {
		return nil, err
	}
	if d.left -= len(entries) + 1; d.left < 0 {
		return nil, errTooMany
	}
	byName := make(map[string]entry, len(entries))
	for _, e := range entries {
		byName[e.name] = e
	}
	return byName, nil
}

// entries compares what two trees have under one name; the zero entry is nothing.
func (d *differ) entries(ctx context.Context, old, current entry, path string, depth int) error {
	if old.hash == current.hash && old.kind == current.kind {
		return nil
	}
	if leaf(old) || leaf(current) {
		if d.paths = append(d.paths, path); len(d.paths) > d.max {
			return errTooMany
		}
	}
	oldTree, currentTree := treeOf(old), treeOf(current)
	if oldTree == "" && currentTree == "" {
		return nil
	}
	return d.trees(ctx, oldTree, currentTree, path, depth+1)
}

func leaf(e entry) bool { return e.hash != "" && e.kind != directory }

func treeOf(e entry) string {
	if e.kind != directory {
		return ""
	}
	return e.hash
}

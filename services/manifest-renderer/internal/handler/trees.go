package handler

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/sluice-cd/sluice/libs/archive"
	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/tree"
)

// Trees keeps unpacked revisions: all renders of a revision in this process share one copy, unpacked once.
type Trees struct {
	store bus.ArtifactStore
	most  int64 // bytes kept
	once  singleflight.Group

	mu    sync.Mutex
	kept  []keptTree // least recently used first
	bytes int64
}

type keptTree struct {
	digest string
	tree   *tree.Tree
	used   time.Time
}

// idleTree is how long a revision is kept that nobody uses: as a rule, there is a later one.
const idleTree = time.Minute

// NewTrees makes a cache that keeps at most so many bytes, none that is idle for long, and always the revision last used. What revisions share counts for each.
func NewTrees(store bus.ArtifactStore, most int64) *Trees { return &Trees{store: store, most: most} }

// Get returns the tree of an artifact, which shares what is the same with that of the earlier artifact like, if that is kept.
// bus.ErrArtifactNotFound when it is not stored any more.
func (t *Trees) Get(ctx context.Context, digest, like string) (*tree.Tree, error) {
	if found := t.use(digest); found != nil {
		return found, nil
	}
	ch := t.once.DoChan(digest, func() (any, error) { return t.load(context.WithoutCancel(ctx), digest, like) })
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-ch:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*tree.Tree), nil
	}
}

func (t *Trees) load(ctx context.Context, digest, like string) (*tree.Tree, error) {
	if found := t.use(digest); found != nil {
		return found, nil
	}
	data, err := t.store.Get(ctx, digest)
	if err != nil {
		return nil, err
	}
	if have := archive.Digest(data); have != digest {
		return nil, fmt.Errorf("artifact %s has content of digest %s", digest, have)
	}
	files, err := archive.Unpack(ctx, bytes.NewReader(data), archive.Limits{})
	if err != nil {
		return nil, fmt.Errorf("unpack artifact %s: %w", digest, err)
	}
	unpacked, err := tree.NewLike(files, t.use(like))
	if err != nil {
		return nil, fmt.Errorf("unpack artifact %s: %w", digest, err)
	}
	t.keep(digest, unpacked)
	return unpacked, nil
}

func (t *Trees) use(digest string) *tree.Tree {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, k := range t.kept {
		if k.digest == digest {
			k.used = time.Now()
			t.kept = append(append(t.kept[:i:i], t.kept[i+1:]...), k)
			return k.tree
		}
	}
	return nil
}

func (t *Trees) keep(digest string, unpacked *tree.Tree) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, keptTree{digest, unpacked, time.Now()})
	t.bytes += unpacked.Size()
	for len(t.kept) > 1 && (t.bytes > t.most || time.Since(t.kept[0].used) > idleTree) {
		t.bytes -= t.kept[0].tree.Size()
		t.kept = append([]keptTree{}, t.kept[1:]...)
	}
}

package git

import (
	"container/list"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
)

// DefaultCacheBytes is the memory that Mirrors take for contents.
const DefaultCacheBytes = 64 << 20

const (
	// maxCachedBytes is the largest content that is kept.
	maxCachedBytes = 256 << 10
	// cachedOverhead is roughly what an entry takes besides its content.
	cachedOverhead = 200
)

// contentCache keeps the contents of objects that were used last. It is for
// concurrent use; nobody may change a content.
//
// Contents are known by mirror and hash, although the hash alone would tell what
// they are: a server could name a hash in a tree without having the content, and
// be served with what came from somebody else's repository.
type contentCache struct {
	mu      sync.Mutex
	left    int64
	order   *list.List // of cached, the latest first
	entries map[contentKey]*list.Element
}

// contentKey is an object of one mirror.
type contentKey struct{ mirror, hash string }

type cached struct {
	key     contentKey
	kind    plumbing.ObjectType
	content []byte
}

func newContentCache(size int64) *contentCache {
	return &contentCache{left: size, order: list.New(), entries: map[contentKey]*list.Element{}}
}

func (c *contentCache) get(key contentKey) (plumbing.ObjectType, []byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	element, ok := c.entries[key]
	if !ok {
		return 0, nil, false
	}
	c.order.MoveToFront(element)
	entry := element.Value.(cached)
	return entry.kind, entry.content, true
}

func (c *contentCache) put(key contentKey, kind plumbing.ObjectType, content []byte) {
	if len(content) > maxCachedBytes {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.entries[key]; ok {
		return
	}
	c.entries[key] = c.order.PushFront(cached{key, kind, content})
	for c.left -= int64(len(content)) + cachedOverhead; c.left < 0; {
		last := c.order.Remove(c.order.Back()).(cached)
		delete(c.entries, last.key)
		c.left += int64(len(last.content)) + cachedOverhead
	}
}

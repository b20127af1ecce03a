package git

import (
	"fmt"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
)

func TestContentCache(t *testing.T) {
	c := newContentCache(10 * (cachedOverhead + 1000))
	for i := range 20 {
		c.put(contentKey{"m", fmt.Sprint(i)}, plumbing.BlobObject, make([]byte, 1000))
		if i >= 5 {
			if _, _, ok := c.get(contentKey{"m", "5"}); !ok {
				t.Fatalf("5 was dropped at %d though it was in use", i)
			}
		}
	}
	if len(c.entries) != 10 || c.order.Len() != 10 || c.left != 0 {
		t.Fatalf("%d entries, %d in order, %d bytes left", len(c.entries), c.order.Len(), c.left)
	}
	if _, _, ok := c.get(contentKey{"other", "5"}); ok {
		t.Error("a content crossed over to another mirror")
	}
	if _, _, ok := c.get(contentKey{"m", "3"}); ok {
		t.Error("what was not used for long is still there")
	}
	c.put(contentKey{"m", "large"}, plumbing.BlobObject, make([]byte, maxCachedBytes+1))
	if _, _, ok := c.get(contentKey{"m", "large"}); ok {
		t.Error("a large content was kept")
	}
	tiny := newContentCache(1)
	tiny.put(contentKey{"m", "a"}, plumbing.BlobObject, nil)
	if len(tiny.entries) != 0 || tiny.left != 1 {
		t.Errorf("%d entries, %d bytes left", len(tiny.entries), tiny.left)
	}
}

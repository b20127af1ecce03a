package handler

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/tree"
)

func treeOf(t *testing.T, content string) *tree.Tree {
	t.Helper()
	made, err := tree.New(map[string][]byte{"a": []byte(content)})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestTreesAreBounded(t *testing.T) {
	trees := NewTrees(nil, 10_000)
	for i := range 20 {
		trees.keep(fmt.Sprint(i), treeOf(t, strings.Repeat("x", 3000)))
	}
	if len(trees.kept) != 3 || trees.use("19") == nil || trees.use("0") != nil {
		t.Errorf("%d revisions are kept", len(trees.kept))
	}
	trees.keep("large", treeOf(t, strings.Repeat("x", 20_000)))
	if len(trees.kept) != 1 || trees.use("large") == nil {
		t.Errorf("%d revisions are kept beside the one in use", len(trees.kept)-1)
	}
}

// A repository that is pushed to often must not fill the cache with revisions that nobody renders any more.
func TestIdleTreesGo(t *testing.T) {
	trees := NewTrees(nil, 1<<20)
	for _, name := range []string{"idle", "in use"} {
		trees.keep(name, treeOf(t, name))
	}
	for i := range trees.kept {
		trees.kept[i].used = time.Now().Add(-2 * idleTree)
	}
	trees.use("in use")
	trees.keep("new", treeOf(t, "new"))
	if len(trees.kept) != 2 || trees.use("idle") != nil || trees.use("in use") == nil {
		t.Errorf("kept are %v", trees.kept)
	}
}

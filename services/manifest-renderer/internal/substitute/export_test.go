package substitute

import (
	"testing"

	"github.com/fluxcd/pkg/envsubst/parse"
)

func (v Variables) bound(t *testing.T, text string) uint64 {
	t.Helper()
	tree, err := parse.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return v.costOf(tree.Root).size
}

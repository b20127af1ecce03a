package handler

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"weak"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/seal"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/render"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/tree"
)

func newSets(t *testing.T) *Sets {
	t.Helper()
	sealer, err := seal.New([]byte(strings.Repeat("k", seal.KeySize)))
	if err != nil {
		t.Fatal(err)
	}
	return NewSets(bustest.Start(t).Connect().Sets(), sealer)
}

// readSetOf is what a render reads that reads one file.
func readSetOf(t *testing.T, content string) tree.ReadSet {
	t.Helper()
	source, err := tree.New(map[string][]byte{"a": []byte(content)})
	if err != nil {
		t.Fatal(err)
	}
	view := tree.NewView(context.Background(), source, tree.Budget{Lookups: 10, Bytes: 1000})
	if _, err := view.Read("a"); err != nil {
		t.Fatal(err)
	}
	return view.ReadSet()
}

// The objects of a render, among them Secrets in the clear, must not stay in memory with what it read.
func TestReadSetKeepsNoResult(t *testing.T) {
	sets := newSets(t)
	result := &render.Result{Manifests: []byte("{}\n"), ReadSet: readSetOf(t, "1")}
	next, err := sets.Put(t.Context(), state.Rendered{}, result)
	if err != nil {
		t.Fatal(err)
	}
	there := weak.Make(result)
	result = nil
	runtime.GC()
	runtime.GC()
	if there.Value() != nil {
		t.Error("the result is in memory still")
	}
	read, err := sets.ReadSet(t.Context(), next.ReadSet)
	if err != nil || read == nil || read.Len() != 1 {
		t.Errorf("read-set %v, %v", read, err)
	}
}

// Of each application, what its last render read is in memory, however often it is rendered.
func TestReadSetsAreForgotten(t *testing.T) {
	sets := newSets(t)
	const apps = 3
	key := func(i int) types.NamespacedName { return types.NamespacedName{Namespace: "ns", Name: fmt.Sprint(i)} }
	for round := range 5 {
		name, err := sets.PutReadSet(t.Context(), readSetOf(t, fmt.Sprint(round)))
		if err != nil {
			t.Fatal(err)
		}
		for i := range apps {
			sets.Remember(key(i), name)
			sets.Remember(key(i), name)
			if sets.LastRead(key(i)) == nil {
				t.Fatal("the read-set is not known")
			}
		}
		if len(sets.read) != 1 || len(sets.users) != 1 {
			t.Fatalf("round %d: %d read-sets of %d names", round, len(sets.read), len(sets.users))
		}
	}
	for i := range apps {
		sets.Forget(key(i))
	}
	if len(sets.read)+len(sets.users)+len(sets.last) != 0 || sets.LastRead(key(0)) != nil {
		t.Errorf("left are %v", sets.reads)
	}
	for i := range 1000 { // of renders that were not finished
		sets.noteRead(fmt.Sprint(i), readSetOf(t, "x"))
	}
	if len(sets.read) > 200 {
		t.Errorf("%d read-sets of nobody", len(sets.read))
	}
}

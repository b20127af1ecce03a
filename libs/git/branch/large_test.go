package branch

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/libs/gittest"
)

// A thousand changed files of two thousand are one commit and one push, and quick.
func TestManyFiles(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	seed := gittest.Commit{Files: map[string]string{}}
	content := func(i, version int) string {
		return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app-%d}\ndata:\n  image: registry.example.com/app-%d:v%d\n%s", i, i, version, strings.Repeat("  # filler\n", 100))
	}
	path := func(i int) string { return fmt.Sprintf("apps/%02d/app-%04d.yaml", i%40, i) }
	for i := range 2000 {
		seed.Files[path(i)] = content(i, 1)
	}
	w.seed(seed)
	for round := 2; round < 4; round++ {
		start := time.Now()
		b := w.open("")
		entries, err := b.Head().List(t.Context(), "apps")
		w.do(err)
		if len(entries) != 2000 {
			t.Fatalf("%d files", len(entries))
		}
		for _, e := range entries {
			_, err := b.Head().Read(t.Context(), e.Hash, 1<<20)
			w.do(err)
		}
		read := time.Since(start)
		d := draft()
		for i := range 1000 {
			d.Changes[path(2*i)] = []byte(content(2*i, round))
		}
		c := w.commit(b, d)
		made := time.Since(start)
		w.do(b.Push(t.Context(), c, PushOptions{}))
		t.Logf("opened and read %v, made %v, pushed %v; %d objects, %d bytes", read, made-read, time.Since(start)-made, c.Objects, len(c.Pack))
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("took %v", took)
		}
		if len(c.Paths) != 1000 || c.Objects != 1000+20+2+1 {
			t.Errorf("%d paths, %d objects", len(c.Paths), c.Objects)
		}
	}
	w.sound()
}

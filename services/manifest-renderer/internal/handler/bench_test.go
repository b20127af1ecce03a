package handler

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/libs/state"
)

var apps = flag.Int("apps", 1000, "Kustomizations of BenchmarkCommit")

// BenchmarkCommit measures a commit that changes a base which one of many Kustomizations, not the first by name, reads from outside of its
// own path: until that one is rendered, and until all are at the new revision. Here is no applier and no API server to write to.
func BenchmarkCommit(b *testing.B) {
	w := newWorld(b)
	files := map[string]string{}
	for i := range *apps {
		files[fmt.Sprintf("bases/b%04d/kustomization.yaml", i)] = "resources: [a.yaml]\n"
		files[fmt.Sprintf("bases/b%04d/a.yaml", i)] = configMap(fmt.Sprintf("a%d", i), "0")
		files[fmt.Sprintf("apps/a%04d/kustomization.yaml", i)] = fmt.Sprintf("resources: [../../bases/b%04d]\n", i)
		w.kustomization(fmt.Sprintf("a%04d", i), fmt.Sprintf("apps/a%04d", i), nil)
	}
	revision := w.push(files)
	w.start()
	w.awaitAll(b, revision)
	changed := fmt.Sprintf("a%04d", *apps*3/4)
	base := fmt.Sprintf("bases/b%04d/a.yaml", *apps*3/4)
	builds := w.builds()
	var first, all time.Duration
	for i := range b.N {
		files[base] = configMap("changed", fmt.Sprint(i+1))
		w.mu.Lock()
		w.done = nil
		w.mu.Unlock()
		started := time.Now()
		revision = w.push(files, base)
		w.awaitAll(b, revision)
		all += time.Since(started)
		place, at := w.place(changed)
		first += at.Sub(started)
		if place > 40 { // it builds, while others go by
			b.Errorf("the changed one was rendered as number %d", place)
		}
	}
	b.ReportMetric(float64(first.Microseconds())/1000/float64(b.N), "ms/first")
	b.ReportMetric(float64(all.Milliseconds())/float64(b.N), "ms/all")
	b.ReportMetric(float64(builds())/float64(b.N), "builds/op")
}

// place is when a Kustomization ran, among those that ran since, and when that ended; 0 when it has not.
func (w *world) place(name string) (int, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, run := range w.done {
		if run.key == w.key(name) {
			return i + 1, run.at
		}
	}
	return 0, time.Time{}
}

// awaitAll waits until as many runs ended as there are Kustomizations, and then for the last one to be saved at the revision.
func (w *world) awaitAll(b *testing.B, revision string) {
	b.Helper()
	for deadline := time.Now().Add(10 * patient); ; time.Sleep(5 * time.Millisecond) {
		w.mu.Lock()
		n := len(w.done)
		w.mu.Unlock()
		if n >= *apps {
			break
		}
		if time.Now().After(deadline) {
			b.Fatalf("%d of %d ran", n, *apps)
		}
	}
	for i := range *apps {
		w.await(fmt.Sprintf("a%04d", i), func(r state.Rendered) bool { return r.SourceRevision == revision })
	}
}

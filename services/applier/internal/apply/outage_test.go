package apply

import (
	"testing"
	"time"
)

// An API server that is down is no fault of the set, and is found out by few requests.
func TestServerDown(t *testing.T) {
	if cluster.Given() {
		t.Skip("the given cluster is not ours to stop")
	}
	f := setUp(t, Config{})
	docs := manyConfigMaps(100, "1")
	f.apply(docs)
	c := f.count(Config{Concurrency: 4})
	f.apply(docs)
	if err := cluster.StopAPIServer(); err != nil {
		t.Fatal(err)
	}
	c.gets.Store(0)
	c.patches.Store(0)
	_, failures := f.applyFails(manyConfigMaps(100, "2"))
	if failures.Kind() != Unavailable || !failures.Kind().Retryable() {
		t.Errorf("%s: %v", failures.Kind(), failures)
	}
	if n := c.gets.Load() + c.patches.Load(); n > 10 {
		t.Errorf("%d requests to a server that is down", n)
	}
	if len(failures.Objects)+failures.Skipped != 100 {
		t.Errorf("%d failed and %d skipped, want 100 in all", len(failures.Objects), failures.Skipped)
	}
	f.restart(Config{}) // Which kinds there are is not known either.
	if _, failures = f.applyFails(docs); failures.Kind() != Unavailable {
		t.Errorf("%s: %v", failures.Kind(), failures)
	}
	if err := cluster.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, change := range f.apply(manyConfigMaps(100, "1")).Changes {
		if change.Action != Unchanged {
			t.Error(change)
		}
	}
}

// A server that does not answer costs a few timeouts, not one for each object.
func TestServerHangs(t *testing.T) {
	if cluster.Given() {
		t.Skip("the given cluster is not ours to pause")
	}
	f := setUp(t, Config{})
	f.restart(Config{Concurrency: 1, RequestTimeout: 100 * time.Millisecond})
	f.apply(manyConfigMaps(1, "1"))
	if err := cluster.PauseAPIServer(); err != nil {
		t.Fatal(err)
	}
	_, failures := f.applyFails(manyConfigMaps(100, "2"))
	if err := cluster.ResumeAPIServer(); err != nil {
		t.Fatal(err)
	}
	if failures.Kind() != Unavailable || len(failures.Objects) != outageLimit {
		t.Errorf("%s, %d objects tried: %v", failures.Kind(), len(failures.Objects), failures)
	}
}

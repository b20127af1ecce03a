package apply

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

// counter counts the requests of an engine, by method, and how many are under way at once.
type counter struct {
	next                       http.RoundTripper
	gets, patches, busy, worst atomic.Int64
}

func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	switch r.Method {
	case http.MethodGet:
		c.gets.Add(1)
	case http.MethodPatch:
		c.patches.Add(1)
	}
	now := c.busy.Add(1)
	defer c.busy.Add(-1)
	for worst := c.worst.Load(); now > worst && !c.worst.CompareAndSwap(worst, now); worst = c.worst.Load() {
	}
	return c.next.RoundTrip(r)
}

// count makes an engine whose requests are counted.
func (f *fixture) count(config Config) *counter {
	c := &counter{}
	f.config = rest.CopyConfig(f.config)
	f.config.Wrap(func(next http.RoundTripper) http.RoundTripper { c.next = next; return c })
	f.restart(config)
	return c
}

func manyConfigMaps(n int, value string) string {
	var docs strings.Builder
	for i := range n {
		docs.WriteString(configMap(fmt.Sprint("c", i), value))
	}
	return docs.String()
}

// In the steady state an object costs one request, and a first visit two.
func TestRequests(t *testing.T) {
	f := setUp(t, Config{})
	c := f.count(Config{Concurrency: 8})
	f.apply(manyConfigMaps(1, "1"))
	for _, tc := range []struct {
		name, value   string
		gets, patches int64
	}{
		{"first visit", "1", 99, 100},
		{"nothing changed", "1", 0, 100},
		{"all changed", "2", 0, 100},
	} {
		c.gets.Store(0)
		c.patches.Store(0)
		f.apply(manyConfigMaps(100, tc.value))
		if c.gets.Load() != tc.gets || c.patches.Load() != tc.patches {
			t.Errorf("%s: %d GET and %d PATCH, want %d and %d", tc.name, c.gets.Load(), c.patches.Load(), tc.gets, tc.patches)
		}
	}
	if c.worst.Load() > 8 {
		t.Errorf("%d requests at once, want at most 8", c.worst.Load())
	}
}

// An object that others write between all visits is looked at first. When they stop, it no longer is.
func TestRequestsOfARestlessObject(t *testing.T) {
	f := setUp(t, Config{})
	c := f.count(Config{})
	docs := configMap("a", "1")
	f.apply(docs)
	for _, tc := range []struct {
		name          string
		touched       bool
		gets, patches int64
	}{
		{"untouched", false, 0, 1},
		{"touched", true, 1, 2},
		{"touched again", true, 1, 1},
		{"left alone", false, 1, 1},
		{"left alone again", false, 0, 1},
	} {
		if tc.touched {
			f.patch(f.parse(docs)[0], "autoscaler", `{"metadata":{"annotations":{"for":"`+tc.name+`"}}}`)
		}
		c.gets.Store(0)
		c.patches.Store(0)
		f.want(f.apply(docs).Changes, "ConfigMap/a unchanged")
		if c.gets.Load() != tc.gets || c.patches.Load() != tc.patches {
			t.Errorf("%s: %d GET and %d PATCH, want %d and %d", tc.name, c.gets.Load(), c.patches.Load(), tc.gets, tc.patches)
		}
	}
}

// Two engines, as after a restart or with a second replica, and two runs in one engine.
func TestConcurrentRuns(t *testing.T) {
	f := setUp(t, Config{})
	other := *f
	other.restart(Config{})
	docs := manyConfigMaps(30, "1")
	errs := make(chan error)
	for _, engine := range []*Engine{f.Engine, f.Engine, other.Engine} {
		go func() {
			_, err := engine.Apply(t.Context(), f.parse(docs), f.options)
			errs <- err
		}()
	}
	for range 3 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	for _, c := range f.apply(docs).Changes {
		if c.Action != Unchanged {
			t.Error(c)
		}
	}
}

const benchObjects = 200

// BenchmarkApply measures one run over a set. "bare" is a loop that sends the same patches side by
// side and looks at nothing: what the API server can do at all.
func BenchmarkApply(b *testing.B) {
	f := setUp(b, Config{})
	f.apply(manyConfigMaps(benchObjects, "0"))
	b.Run("unchanged", func(b *testing.B) { f.bench(b, func(int) string { return "0" }) })
	b.Run("changed", func(b *testing.B) { f.bench(b, func(i int) string { return fmt.Sprint(b.N, "-", i) }) })
	f.apply(manyConfigMaps(benchObjects, "0"))
	b.Run("bare unchanged", f.benchBare)
	b.Run("cold", func(b *testing.B) {
		set := f.parse(manyConfigMaps(benchObjects, "0"))
		for b.Loop() {
			f.restart(Config{})
			if _, err := f.Apply(b.Context(), set, f.options); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(benchObjects*b.N)/b.Elapsed().Seconds(), "objects/s")
	})
}

func (f *fixture) bench(b *testing.B, value func(int) string) {
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		set := f.parse(manyConfigMaps(benchObjects, value(i)))
		b.StartTimer()
		if _, err := f.Apply(b.Context(), set, f.options); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(benchObjects*b.N)/b.Elapsed().Seconds(), "objects/s")
}

func (f *fixture) benchBare(b *testing.B) {
	_, r := f.newRun(b.Context(), f.options)
	objects, err := r.prepare(f.parse(manyConfigMaps(benchObjects, "0")))
	if err != nil {
		b.Fatal(err)
	}
	bodies := make([][]byte, len(objects))
	for i, d := range objects {
		if bodies[i], err = d.body(""); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		for _, err := range r.each(b.Context(), len(objects), func(i int) error {
			return f.sendBare(objects[i], bodies[i], b)
		}) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(benchObjects*b.N)/b.Elapsed().Seconds(), "objects/s")
}

func (f *fixture) sendBare(d *desired, body []byte, b *testing.B) error {
	return f.Engine.client.rest.Patch(types.ApplyPatchType).AbsPath(d.at.path()...).
		Param("fieldManager", "sluice").Param("force", "true").SetHeader("Accept", onlyMetadata).
		Body(body).Do(b.Context()).Error()
}

// An object that was never applied is created without looking, and one that is there all the same is looked at.
func TestRequestsOfNewObjects(t *testing.T) {
	f := setUp(t, Config{})
	paused := configMap("mine", "1")
	f.apply(paused)
	f.patch(f.parse(paused)[0], "someone", `{"metadata":{"annotations":{"fluxcd.io/ignore":"true"}}}`)
	c := f.count(Config{})
	f.apply(configMap("other", "1")) // the engine learns which kinds there are
	c.gets.Store(0)
	c.patches.Store(0)
	f.options.New = func(inventory.ID) bool { return true }
	result := f.apply(manyConfigMaps(50, "1") + configMap("mine", "2"))
	if c.gets.Load() != 1 || c.patches.Load() != 51 {
		t.Errorf("%d GET and %d PATCH, want 1 and 51", c.gets.Load(), c.patches.Load())
	}
	for _, change := range result.Changes {
		want := Created
		if change.ID.Name == "mine" {
			want = Skipped
		}
		if change.Action != want {
			t.Errorf("%s, want %s", change, want)
		}
	}
	if value := f.text(f.parse(paused)[0], "data", "key"); value != "1" {
		t.Errorf("an object that its user paused was changed to %q", value)
	}
}

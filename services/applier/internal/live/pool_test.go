package live

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// TestPoolWatchesTheClustersThatMostName names three clusters where two are watched at once.
func TestPoolWatchesTheClustersThatMostName(t *testing.T) {
	p := NewPool(PoolOptions{
		Find: func(_ context.Context, at Place) (Cluster, error) {
			return Cluster{Digest: at.Name, Config: func() (*rest.Config, error) { return &rest.Config{Host: at.Name}, nil }}, nil
		},
		Make: func(c *rest.Config) (*Watcher, string, error) {
			w, err := NewWatcher(Options{Config: c, Mapper: meta.NewDefaultRESTMapper(nil), Manager: "sluice", Log: slog.New(slog.DiscardHandler)})
			return w, c.Host, err
		},
		Most: 2, Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })

	follow := func(owner, cluster string) {
		p.Follow(types.NamespacedName{Name: owner}, Place{Name: cluster}, Interest{})
	}
	forget := func(owner string) { p.Forget(types.NamespacedName{Name: owner}) }
	for _, step := range []struct {
		what    string
		do      func()
		watched map[string]bool // by owner
	}{
		{"room for both", func() { follow("one", "a"); follow("two", "b") }, map[string]bool{"one/a": true, "two/b": true}},
		{"no room for a third", func() { follow("three", "c") }, map[string]bool{"one/a": true, "two/b": true, "three/c": false}},
		{"which more name now", func() { follow("four", "c") }, map[string]bool{"one/a": true, "two/b": false, "three/c": true, "four/c": true}},
		{"one that nobody names any more", func() { forget("one") }, map[string]bool{"one/a": false, "two/b": true, "three/c": true}},
		{"an owner that moves", func() { follow("four", "b"); follow("five", "b") }, map[string]bool{"two/b": true, "four/b": true, "three/c": true, "four/c": false}},
	} {
		step.do()
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			wrong := ""
			for who, want := range step.watched {
				owner, cluster := who[:len(who)-2], who[len(who)-1:]
				if (p.Of(types.NamespacedName{Name: owner}, cluster) != nil) != want {
					wrong = who
				}
			}
			if wrong == "" && p.Len() == 2 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s: %s is wrong, %d are watched", step.what, wrong, p.Len())
			}
		}
	}
}

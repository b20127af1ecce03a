package imagecache_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluice-cd/sluice/libs/imagecache"
	"github.com/sluice-cd/sluice/libs/imagecache/imagecachetest"
	"github.com/sluice-cd/sluice/libs/registry"
	"github.com/sluice-cd/sluice/libs/registry/registrytest"
)

// narrow lets one request through and sends the next one away, but for some at the beginning.
type narrow struct {
	mu   sync.Mutex
	free int
	odd  bool
}

func (n *narrow) Take(context.Context, string, string) (time.Duration, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.free > 0 {
		n.free--
		return 0, nil
	}
	if n.odd = !n.odd; n.odd {
		return 0, nil
	}
	return time.Millisecond, nil
}

func (n *narrow) Block(context.Context, string, string, time.Duration) error { return nil }

// lookUps is a registry with an image and an index, and the way to it, which is known to be plain HTTP and under a narrow budget.
func lookUps(t *testing.T) (*registrytest.Server, *registry.Repository) {
	t.Helper()
	s := registrytest.Start(t, registrytest.Options{})
	built := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	s.Push(t, "app", "one", registrytest.Image{Created: built})
	s.Push(t, "app", "many", registrytest.Image{Created: built, Platforms: []string{"linux/amd64", "linux/arm64"}})
	client, err := registry.New(registry.Options{Budget: &narrow{free: 2}})
	imagecachetest.Must(t, err)
	image, err := registry.ParseImage(s.Host() + "/app")
	imagecachetest.Must(t, err)
	from := client.Repository(image, registry.Access{})
	_, err = from.Digest(t.Context(), "one")
	imagecachetest.Must(t, err)
	s.Reset()
	return s, from
}

// Each document is asked for once, however often the budget ends in between, also in another process; and then no more.
func TestLookUpGoesOn(t *testing.T) {
	s, from := lookUps(t)
	redis := imagecachetest.Start(t)
	for tag, documents := range map[string]int{"one": 2, "many": 3} {
		s.Reset()
		var m *registry.Metadata
		var deferred *registry.Deferred
		var err error
		for tries := 0; m == nil && tries < 10; tries++ {
			m, err = redis.Connect().LookUp(t.Context(), scope, from, tag)
			if err != nil && !errors.As(err, &deferred) {
				t.Fatal(err)
			}
			if err != nil {
				m = nil
			}
		}
		if m == nil || m.Created.IsZero() || m.Next != "" {
			t.Fatalf("%s is %+v", tag, m)
		}
		if n := len(s.Requests()); n != documents {
			t.Errorf("%d requests for %s, want %d: %v", n, tag, documents, s.Requests())
		}
		again, err := redis.Connect().LookUp(t.Context(), scope, from, tag)
		imagecachetest.Must(t, err)
		if diff := cmp.Diff(m, again, cmpopts.EquateEmpty()); diff != "" || len(s.Requests()) != documents {
			t.Errorf("%d requests after it was known; %s", len(s.Requests()), diff)
		}
	}
}

// What is half known is no metadata for anybody else.
func TestHalfKnownIsUnknown(t *testing.T) {
	_, from := lookUps(t)
	cache := imagecachetest.Start(t).Connect()
	var deferred *registry.Deferred
	if _, err := cache.LookUp(t.Context(), scope, from, "one"); !errors.As(err, &deferred) {
		t.Fatalf("err = %v, want a budget that is used up", err)
	}
	digests, err := cache.Digests(t.Context(), scope, []string{"one"})
	imagecachetest.Must(t, err)
	if digests["one"].Digest == "" {
		t.Fatal("what the tag points at was not kept")
	}
	if m, err := cache.Metadata(t.Context(), from.Host(), digests["one"].Digest); err != nil || m != nil {
		t.Errorf("metadata is %+v, %v; want none", m, err)
	}
}

// A tag that is not there is remembered as such, and one that was moved while its image was half known is looked up anew.
func TestLookUpOfWhatIsGone(t *testing.T) {
	_, from := lookUps(t)
	cache := imagecachetest.Start(t).Connect()
	_, err := cache.LookUp(t.Context(), scope, from, "none")
	if !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("err = %v, want %v", err, registry.ErrNotFound)
	}
	digests, err := cache.Digests(t.Context(), scope, []string{"none"})
	imagecachetest.Must(t, err)
	if d, noted := digests["none"]; !noted || d.Digest != "" {
		t.Errorf("of a tag that is not there is known: %+v", d)
	}
	gone := imagecache.Digest{Digest: "sha256:" + strings.Repeat("0", 64), At: time.Now()}
	imagecachetest.Must(t, cache.PutDigest(t.Context(), scope, "one", gone))
	var m *registry.Metadata
	for tries := 0; (m == nil || err != nil) && tries < 10; tries++ {
		m, err = cache.LookUp(t.Context(), scope, from, "one")
	}
	if err != nil || m.Digest == gone.Digest {
		t.Errorf("the tag points at %+v, %v", m, err)
	}
}

package render

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/google/go-cmp/cmp"
)

// Many renders at once on shared trees give what each gives alone.
func TestRenderConcurrently(t *testing.T) {
	r := New(Options{Builds: 4})
	var wg sync.WaitGroup
	for name, f := range loadFixtures(t) {
		if f.strict {
			continue
		}
		source, want := f.tree(t), f.want()
		for range 8 {
			wg.Go(func() {
				result, err := r.Render(t.Context(), source, f.request())
				if diff := cmp.Diff(want, outcome(t, result, err)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			})
		}
	}
	wg.Wait()
}

// ending is a context that ends after so many looks at it.
type ending struct {
	context.Context
	left atomic.Int64
}

func (e *ending) Err() error {
	if e.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// Wherever in a build its context ends, the answer is the context's error:
// never a result that lacks something, and never a fault of the source.
func TestContextEndsAnywhere(t *testing.T) {
	for name, f := range loadFixtures(t) {
		t.Run(name, func(t *testing.T) {
			r, source, want := New(Options{Strict: f.strict}), f.tree(t), f.want()
			for looks := int64(0); ; looks++ {
				ctx := &ending{Context: t.Context()}
				ctx.left.Store(looks)
				result, err := newBuild(ctx, r, source, f.request(), false).run()
				if errors.Is(err, context.Canceled) {
					continue
				}
				if diff := cmp.Diff(want, outcome(t, result, err)); diff != "" {
					t.Fatalf("after %d looks (-want +got):\n%s", looks, diff)
				}
				if ctx.left.Load() < 0 {
					t.Errorf("after %d looks the end was not seen", looks)
				}
				return
			}
		})
	}
}

// A budget that is spent is told as such, wherever that is.
func TestBudgetEndsAnywhere(t *testing.T) {
	for name, f := range loadFixtures(t) {
		t.Run(name, func(t *testing.T) {
			source, want := f.tree(t), f.want()
			for lookups := 1; ; lookups++ {
				r := New(Options{Strict: f.strict, Limits: Limits{Lookups: lookups}})
				result, err := r.Render(t.Context(), source, f.request())
				if e, ok := errors.AsType[*Error](err); ok && strings.HasPrefix(e.Message, "the build reads too much") {
					continue
				}
				if diff := cmp.Diff(want, outcome(t, result, err)); diff != "" {
					t.Fatalf("with %d lookups (-want +got):\n%s", lookups, diff)
				}
				return
			}
		})
	}
}

func TestRenderWaitsForASlot(t *testing.T) {
	r := New(Options{Builds: 1})
	files := source{"a.yaml": configMap}.tree(t)
	r.slots <- struct{}{} // a build that nobody waits for
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Render(ctx, files, Request{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	if _, err := r.acquire(ctx, true); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	<-r.slots
	if _, err := r.Render(t.Context(), files, Request{}); err != nil {
		t.Errorf("after the slot is free: %v", err)
	}
	if len(r.slots) != 0 && len(r.whole) != 0 {
		t.Error("a slot was not given back")
	}
}

func TestFingerprint(t *testing.T) {
	r, key := New(Options{}), []byte("key")
	spec := func(change func(*kustomizev1.KustomizationSpec)) Request {
		s := kustomizev1.KustomizationSpec{Path: "a", PostBuild: &kustomizev1.PostBuild{Substitute: map[string]string{"a": "b"}}}
		change(&s)
		return Request{Name: "a", Namespace: "b", Spec: &s, Variables: map[string]string{"x": "y"}}
	}
	same := func(*kustomizev1.KustomizationSpec) {}
	base := r.Fingerprint(key, spec(same))
	equal := []string{
		r.Fingerprint(key, spec(same)),
		New(Options{Builds: 7}).Fingerprint(key, spec(same)),
		r.Fingerprint(key, spec(func(s *kustomizev1.KustomizationSpec) { s.Prune, s.Suspend, s.Wait = true, true, true })),
	}
	for i, got := range equal {
		if got != base {
			t.Errorf("%d: %s differs from %s", i, got, base)
		}
	}
	other := spec(same)
	other.Variables = map[string]string{"x": "z"}
	renamed := spec(same)
	renamed.Name = "c"
	different := []string{
		r.Fingerprint([]byte("other"), spec(same)),
		New(Options{Strict: true}).Fingerprint(key, spec(same)),
		r.Fingerprint(key, other),
		r.Fingerprint(key, renamed),
		r.Fingerprint(key, spec(func(s *kustomizev1.KustomizationSpec) { s.Path = "b" })),
		r.Fingerprint(key, spec(func(s *kustomizev1.KustomizationSpec) { s.NamePrefix = "b" })),
		r.Fingerprint(key, spec(func(s *kustomizev1.KustomizationSpec) { s.PostBuild.Substitute["a"] = "c" })),
		r.Fingerprint(key, Request{}),
	}
	for i, got := range different {
		if got == base {
			t.Errorf("%d: the fingerprint is the same", i)
		}
	}
}

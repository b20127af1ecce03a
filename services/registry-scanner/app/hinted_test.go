package app

import (
	"testing"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"

	"github.com/sluice-cd/sluice/libs/registry/registrytest"
	hintsv1 "github.com/sluice-cd/sluice/proto/hints/v1"
)

// A call from outside makes a scan due, however fresh the listing is, for exactly the images that it names; the same listing still serves all.
func TestHints(t *testing.T) {
	w := newWorld(t, registrytest.Options{}, nil)
	hint := func(h *hintsv1.Hint) {
		t.Helper()
		w.do(w.bus.PublishHints(t.Context(), &hintsv1.Batch{Hints: []*hintsv1.Hint{h}}))
	}
	w.registry.SetTags("org/app", "1.0.0")
	w.registry.SetTags("org/other", "1.0.0")
	w.create("app", nil)
	w.create("sharer", nil)
	w.create("other", func(s *imagev1.ImageRepositorySpec) { s.Image = w.registry.Host() + "/org/other" })
	for _, name := range []string{"app", "sharer", "other"} {
		w.ready(name, 1)
	}
	w.registry.SetTags("org/app", "1.0.0", "1.1.0")
	w.registry.SetTags("org/other", "1.0.0", "1.1.0")
	before := w.registry.Count("GET ")
	hint(&hintsv1.Hint{Images: []string{w.registry.Host() + "/org/app", w.registry.Host() + "/org/.*", w.registry.Host() + "/org/ap"}})
	w.ready("app", 2)
	w.ready("sharer", 2)
	if n := w.registry.Count("GET ") - before; n != 1 {
		t.Errorf("%d requests for one push, want 1", n)
	}
	w.registry.SetTags("org/app", "1.0.0", "1.1.0", "1.2.0")
	hint(&hintsv1.Hint{Objects: []*hintsv1.ObjectName{{Kind: "ImageRepository", Namespace: w.ns, Name: "app"}, {Kind: "ImageRepository", Namespace: w.ns, Name: "none"}}})
	w.ready("app", 3)
	w.ready("sharer", 3)
	if r := w.get("other"); r.Status.LastScanResult.TagCount != 1 {
		t.Errorf("an image was scanned that nobody named: %+v", r.Status.LastScanResult)
	}
	w.poke("app")
	if n := w.registry.Count("GET ") - before; n != 3 {
		t.Errorf("%d requests for two pushes and a request, want 3", n)
	}
}

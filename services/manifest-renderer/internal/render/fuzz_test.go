package render

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/tree"
)

// Whatever a source holds, a render ends in a result or an error, touches none
// of the traps that TestMain sets, and does the same twice.
func FuzzRender(f *testing.F) {
	for _, fixture := range loadFixtures(f) {
		for name, data := range fixture.files {
			if isManifest(name) {
				f.Add(string(data), "resources: [a.yaml]\nnamePrefix: a-\n", string(data))
			}
			if strings.Contains(name, "ustomization") {
				f.Add(string(data), "resources: [a.yaml, base]\n", configMap)
			}
		}
	}
	for _, remote := range addresses {
		f.Add("resources: ["+remote+"]", "components: ['"+remote+"']", "a: b")
	}
	r := New(Options{})
	f.Fuzz(func(t *testing.T, root, base, manifest string) {
		if len(root)+len(base)+len(manifest) > 20_000 || strings.Contains(root+base, "openapi") {
			t.Skip()
		}
		source, err := tree.New(map[string][]byte{
			"kustomization.yaml": []byte(root), "base/kustomization.yaml": []byte(base), "a.yaml": []byte(manifest), "base/a.yaml": []byte(manifest),
			"plugin.yaml": []byte(base), "patch.yaml": []byte(manifest),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		first, err := r.Render(ctx, source, Request{Name: "app", Namespace: "team"})
		if _, ok := errors.AsType[*NeedsRemotes](err); ok {
			return
		}
		if _, ok := errors.AsType[*Error](err); err != nil && !ok {
			t.Fatalf("not an *Error: %v", err)
		}
		if err == nil {
			second, err := r.Render(ctx, source, Request{Name: "app", Namespace: "team"})
			if err != nil || second.Digest != first.Digest {
				t.Errorf("the second render differs: %v", err)
			}
		}
	})
}

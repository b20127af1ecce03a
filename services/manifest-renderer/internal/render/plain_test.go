package render

import (
	"errors"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/kustomize/api/provider"
	"sigs.k8s.io/kustomize/api/resource"

	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/tree"
)

// both renders plain files directly and through kustomize.
func both(t testing.TB, files map[string][]byte, dir string) (direct, kustomized map[string]string) {
	t.Helper()
	source, err := tree.New(files)
	if err != nil {
		t.Skip(err)
	}
	r := New(Options{})
	one := func(how func(*build, []string) ([]*resource.Resource, error)) map[string]string {
		b := newBuild(t.Context(), r, source, Request{Name: "app", Namespace: "team"}, false)
		b.dir = dir
		result, err := finishAfter(b, how)
		if err != nil {
			return map[string]string{"error": b.explain(err).Error()}
		}
		return map[string]string{"manifests": string(result.Manifests)}
	}
	direct = one((*build).readPlain)
	kustomized = one(func(b *build, found []string) ([]*resource.Resource, error) {
		return b.kustomize(path.Join(b.dir, kustomizationNames[0]), overFiles(found))
	})
	return direct, kustomized
}

func finishAfter(b *build, how func(*build, []string) ([]*resource.Resource, error)) (*Result, error) {
	found, err := b.scan()
	if err != nil {
		return nil, err
	}
	if !b.isPlain(found) {
		return nil, errors.New("not plain")
	}
	m, err := how(b, found)
	if errors.Is(err, errNotPlain) {
		m, err = b.kustomize(path.Join(b.dir, kustomizationNames[0]), overFiles(found))
	}
	if err != nil {
		return nil, err
	}
	return b.finish(m)
}

// Reading plain files directly is only a shortcut: it gives what kustomize gives.
func TestPlainIsWhatKustomizeMakes(t *testing.T) {
	compared := 0
	for name, f := range loadFixtures(t) {
		t.Run(name, func(t *testing.T) {
			for _, dir := range directories(f.files) {
				direct, kustomized := both(t, f.files, dir)
				if kustomized["manifests"] != direct["manifests"] {
					t.Errorf("%s (-kustomize +direct):\n%s", dir, cmp.Diff(kustomized, direct))
				}
				if direct["manifests"] != "" {
					compared++
				}
			}
		})
	}
	if compared < 7 {
		t.Errorf("only %d directories had objects to compare", compared)
	}
}

func directories(files map[string][]byte) []string {
	dirs := map[string]bool{".": true}
	for name := range files {
		dirs[path.Dir(name)] = true
	}
	return slices.Sorted(maps.Keys(dirs))
}

func FuzzPlainIsWhatKustomizeMakes(f *testing.F) {
	for _, fixture := range loadFixtures(f) {
		for name, data := range fixture.files {
			if isManifest(name) {
				f.Add(string(data))
			}
		}
	}
	f.Add("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: 2020-01-01, b: 1.0, c: 1e3, d: 0x10, e: 18446744073709551615, f: !!binary aGk=, g: ~, h: 0o7, i: 1_000}\n")
	f.Add("a: &a [x]\napiVersion: v1\nkind: X\nmetadata: {name: a, annotations: {}}\nspec: {<<: {b: c}, d: *a, e: \"\"}\n")
	f.Add("apiVersion: v1\nkind: RoleList\nitems: [{kind: Role, apiVersion: v1, metadata: {name: b}}]\n---\n---\n# c\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 10_000 || strings.Contains(text, "kustomize.config.k8s.io") {
			t.Skip()
		}
		direct, kustomized := both(t, map[string][]byte{"a.yaml": []byte(text)}, ".")
		if kustomized["manifests"] != direct["manifests"] {
			t.Errorf("(-kustomize +direct):\n%s", cmp.Diff(kustomized, direct))
		}
	})
}

// fieldsOf is only a shortcut too: it gives what the resource's JSON gives.
func FuzzFieldsAreThoseOfJSON(f *testing.F) {
	for _, fixture := range loadFixtures(f) {
		for name, data := range fixture.files {
			if isManifest(name) {
				f.Add(string(data))
			}
		}
	}
	f.Add("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: 2020-01-01, b: 1.0, c: 1e3, d: 0x10, e: 18446744073709551615, f: !!binary aGk=, g: ~, h: 0o7, i: 1_000, j: 1e30, k: -0.0, l: !!str 5, m: !!float 5, n: 9223372036854775808.0, o: !!binary /w==}\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 10_000 || checkManifest([]byte(text)) != nil {
			t.Skip()
		}
		resources, err := provider.NewDefaultDepProvider().GetResourceFactory().SliceFromBytes([]byte(text))
		if err != nil {
			t.Skip()
		}
		for _, r := range resources {
			var want map[string]any
			text, err := r.MarshalJSON()
			if err == nil {
				err = utiljson.Unmarshal(text, &want)
			}
			got, gotErr := fieldsOf(r)
			if (gotErr == nil) != (err == nil) {
				t.Errorf("error %v, kustomize has %v", gotErr, err)
			}
			if diff := cmp.Diff(want, got); err == nil && diff != "" {
				t.Errorf("(-kustomize +fields):\n%s", diff)
			}
		}
	})
}

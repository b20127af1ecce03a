package render

import (
	"encoding/json"
	"maps"
	"path"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/tree"
)

// Whatever one change to a source does to the result of its render, the read-set
// has seen: it never says unchanged when the outcome differs.
func TestReadSetSeesEveryChangeThatMatters(t *testing.T) {
	for name, f := range loadFixtures(t) {
		t.Run(name, func(t *testing.T) {
			r := New(Options{Strict: f.strict})
			before, set := f.render(t, r, f.files)
			for what, files := range changes(f.files) {
				changed, err := tree.New(files)
				if err != nil || !set.Unchanged(changed) {
					continue
				}
				after, _ := f.render(t, r, files)
				if diff := cmp.Diff(before, after); diff != "" {
					t.Errorf("%s counts as unchanged, but:\n%s", what, diff)
				}
			}
		})
	}
}

func (f *fixture) render(t *testing.T, r *Renderer, files map[string][]byte) (map[string]string, tree.ReadSet) {
	t.Helper()
	source, err := tree.New(files)
	if err != nil {
		t.Fatal(err)
	}
	result, err := r.Render(t.Context(), source, f.request())
	got := outcome(t, result, err)
	delete(got, "want.reads")
	if err != nil {
		return got, err.(*Error).ReadSet
	}
	return got, result.ReadSet
}

// changes are sources that differ from files in one thing.
func changes(files map[string][]byte) map[string]map[string][]byte {
	all := make(map[string]map[string][]byte)
	with := func(what string, change func(map[string][]byte)) {
		changed := maps.Clone(files)
		change(changed)
		all[what] = changed
	}
	for name, data := range files {
		with("a longer "+name, func(m map[string][]byte) { m[name] = append(data[:len(data):len(data)], "\n# more\n"...) })
		with("no "+name, func(m map[string][]byte) { delete(m, name) })
		with("a directory "+name, func(m map[string][]byte) { delete(m, name); m[name+"/x.yaml"] = data })
		with("a moved "+name, func(m map[string][]byte) { delete(m, name); m[path.Dir(name)+"/moved/x.yaml"] = data })
	}
	for _, dir := range directories(files) {
		for _, base := range append([]string{"new.yaml", "new.txt", "new/new.yml", "Chart.yaml", "values.yaml"}, kustomizationNames...) {
			name := path.Join(dir, base)
			if files[name] != nil {
				continue
			}
			with("a new "+name, func(m map[string][]byte) {
				m[name] = []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: new}\n")
			})
		}
	}
	return all
}

func TestReadSetUnchanged(t *testing.T) {
	overlay := loadFixture(t, "testdata/kustomize.txtar")
	plain := loadFixture(t, "testdata/plain.txtar")
	tests := []struct {
		name    string
		fixture *fixture
		path    string // "" removes nothing and adds nothing
		remove  bool
		want    bool
	}{
		{"the same source", overlay, "", false, true},
		{"an unrelated file", overlay, "docs/README.md", false, true},
		{"a manifest beside the base that nothing names", overlay, "apps/base/other.yaml", false, true},
		{"the base", overlay, "apps/base/web.yaml", false, false},
		{"the base's kustomization", overlay, "apps/base/kustomization.yml", false, false},
		{"a component", overlay, "components/labels/kustomization.yaml", false, false},
		{"a generator's file", overlay, "apps/prod/app.conf", false, false},
		{"a generator's env file", overlay, "apps/prod/settings.env", false, false},
		{"a removed generator's file", overlay, "apps/prod/other.conf", true, false},
		{"a component that was missing", overlay, "components/gone/kustomization.yaml", false, false},
		{"a second kustomization file", overlay, "apps/base/kustomization.yaml", false, false},
		{"a manifest read", plain, "deploy/app.yaml", false, false},
		{"a new manifest in a plain directory", plain, "deploy/new.yaml", false, false},
		{"a new directory in a plain directory", plain, "deploy/new/app.yaml", false, false},
		{"a kustomization in a plain directory", plain, "deploy/.hidden/kustomization.yaml", false, false},
		{"a template of the chart", plain, "deploy/chart/templates/x.yaml", false, true},
		{"the content of a file that was not read", plain, "deploy/config.json", false, true},
		{"the chart is none any more", plain, "deploy/chart/values.yaml", true, false},
		{"a file above", plain, "app.yaml", false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			result, err := New(Options{}).Render(t.Context(), tt.fixture.tree(t), tt.fixture.request())
			if err != nil {
				t.Fatal(err)
			}
			set := throughJSON(t, result.ReadSet)
			files := maps.Clone(tt.fixture.files)
			if tt.remove {
				delete(files, tt.path)
			} else if tt.path != "" {
				files[tt.path] = []byte("changed: content\n")
			}
			changed, err := tree.New(files)
			if err != nil {
				t.Fatal(err)
			}
			if got := set.Unchanged(changed); got != tt.want {
				at, _ := set.Changed(changed)
				t.Errorf("unchanged = %v, want %v (changed at %q)", got, tt.want, at)
			}
		})
	}
}

func throughJSON(t *testing.T, s tree.ReadSet) (out tree.ReadSet) {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// A failure is remembered too: what cannot be built needs not be tried again.
func TestReadSetOfFailure(t *testing.T) {
	files := map[string][]byte{"kustomization.yaml": []byte("resources: [gone.yaml]\n")}
	source, err := tree.New(files)
	if err != nil {
		t.Fatal(err)
	}
	_, err = New(Options{}).Render(t.Context(), source, Request{})
	e, ok := err.(*Error)
	if !ok {
		t.Fatalf("got %v, want an *Error", err)
	}
	if !e.ReadSet.Unchanged(source) {
		t.Error("the same source counts as changed")
	}
	files["gone.yaml"] = []byte("a: b\n")
	if source, err = tree.New(files); err != nil {
		t.Fatal(err)
	}
	if e.ReadSet.Unchanged(source) {
		t.Error("the file that was missing is there, and the source counts as unchanged")
	}
}

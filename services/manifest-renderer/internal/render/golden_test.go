package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/tree"
)

var update = flag.Bool("update", false, "write what is rendered into testdata")

// A fixture is a txtar archive: below source/ the source, spec.yaml the spec of
// the Kustomization, variables.yaml what substituteFrom gave, and what is
// expected: want.yaml or want.error, and want.reads. A file named strict makes
// missing variables errors.
type fixture struct {
	archive   *txtar.Archive
	files     map[string][]byte
	spec      kustomizev1.KustomizationSpec
	variables map[string]string
	strict    bool
}

func loadFixtures(t testing.TB) map[string]*fixture {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	all := make(map[string]*fixture, len(paths))
	for _, p := range paths {
		all[strings.TrimSuffix(filepath.Base(p), ".txtar")] = loadFixture(t, p)
	}
	return all
}

func loadFixture(t testing.TB, p string) *fixture {
	t.Helper()
	archive, err := txtar.ParseFile(p)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{archive: archive, files: make(map[string][]byte)}
	for _, file := range archive.Files {
		switch file.Name {
		case "spec.yaml":
			err = yaml.UnmarshalStrict(file.Data, &f.spec)
		case "variables.yaml":
			err = yaml.Unmarshal(file.Data, &f.variables)
		case "strict":
			f.strict = true
		default:
			if name, ok := strings.CutPrefix(file.Name, "source/"); ok {
				f.files[name] = file.Data
			}
		}
		if err != nil {
			t.Fatalf("%s: %s: %v", p, file.Name, err)
		}
	}
	return f
}

func (f *fixture) tree(t testing.TB) *tree.Tree {
	t.Helper()
	source, err := tree.New(f.files)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func (f *fixture) request() Request {
	return Request{Name: "app", Namespace: "team", Spec: &f.spec, Variables: f.variables}
}

func TestGolden(t *testing.T) {
	for name, f := range loadFixtures(t) {
		t.Run(name, func(t *testing.T) {
			r := New(Options{Strict: f.strict})
			result, err := r.Render(t.Context(), f.tree(t), f.request())
			got := outcome(t, result, err)
			if *update {
				f.write(t, filepath.Join("testdata", name+".txtar"), got)
				return
			}
			if diff := cmp.Diff(f.want(), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			again, err := r.Render(t.Context(), f.tree(t), f.request())
			if diff := cmp.Diff(got, outcome(t, again, err)); diff != "" {
				t.Errorf("the second render differs:\n%s", diff)
			}
		})
	}
}

func (f *fixture) want() map[string]string {
	want := make(map[string]string)
	for _, file := range f.archive.Files {
		if strings.HasPrefix(file.Name, "want.") {
			want[file.Name] = string(file.Data)
		}
	}
	return want
}

func (f *fixture) write(t *testing.T, path string, got map[string]string) {
	t.Helper()
	f.archive.Files = slices.DeleteFunc(f.archive.Files, func(file txtar.File) bool {
		return strings.HasPrefix(file.Name, "want.")
	})
	for _, name := range slices.Sorted(maps.Keys(got)) {
		f.archive.Files = append(f.archive.Files, txtar.File{Name: name, Data: []byte(got[name])})
	}
	if err := os.WriteFile(path, txtar.Format(f.archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

// outcome is a render as the fixtures have it.
func outcome(t testing.TB, result *Result, err error) map[string]string {
	t.Helper()
	if err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			t.Fatalf("not an *Error: %v", err)
		}
		return map[string]string{
			"want.error": fmt.Sprintf("%s: %s\n", e.Reason, e),
			"want.reads": reads(t, e.ReadSet),
		}
	}
	return map[string]string{
		"want.reads": reads(t, result.ReadSet),
		"want.yaml":  asYAML(t, result.Manifests),
	}
}

// reads lists a read-set without digests.
func reads(t testing.TB, s tree.ReadSet) string {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var set struct {
		R map[string]string `json:"r"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, path := range slices.Sorted(maps.Keys(set.R)) {
		fmt.Fprintf(&b, "%c %s\n", set.R[path][0], path)
	}
	return b.String()
}

func asYAML(t testing.TB, manifests []byte) string {
	t.Helper()
	var docs []string
	for line := range bytes.Lines(manifests) {
		doc, err := yaml.JSONToYAML(line)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, string(doc))
	}
	return strings.Join(docs, "---\n")
}

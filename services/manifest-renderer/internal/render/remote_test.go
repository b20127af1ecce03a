package render

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
)

// fetching renders as a caller does that has trees for addresses, and returns for which it was asked, in order.
func (s source) fetching(t *testing.T, trees map[string]source, req Request) (result *Result, asked []Address, err error) {
	t.Helper()
	r := New(Options{})
	req.Remotes = map[Address]Remote{}
	for {
		result, err = r.Render(t.Context(), s.tree(t), req)
		needs, ok := errors.AsType[*NeedsRemotes](err)
		if !ok {
			return result, asked, err
		}
		for _, a := range needs.Addresses {
			address, dir, _ := strings.Cut(a.Text, "!")
			asked = append(asked, a)
			req.Remotes[a] = Remote{Tree: trees[address].tree(t), Path: strings.Trim("./"+dir, "/"), ID: "id of " + a.Text}
		}
	}
}

func named(name string) string { return strings.ReplaceAll(configMap, "name: a", "name: "+name) }

func TestRemoteBases(t *testing.T) {
	trees := map[string]source{
		"https://example.org/repo":   {"base/kustomization.yaml": "resources: [../shared, 'https://example.org/nested!']\n", "shared/a.yaml": named("shared"), "shared/kustomization.yaml": "resources: [a.yaml]\n"},
		"https://example.org/nested": {"kustomization.yaml": "resources: [n.yaml]\n", "n.yaml": named("nested")},
		"https://example.org/f.yaml": {"f.yaml": named("file")},
		"git@example.org:org/repo":   {"component/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnamePrefix: c-\n"},
		"https://example.org/p.yaml": {"p.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: here}\ndata: {patched: yes!}\n"},
	}
	files := source{
		"app/kustomization.yaml": `
resources: ["https://example.org/repo!base", "https://example.org/f.yaml!f.yaml", here.yaml]
components: ["git@example.org:org/repo!component"]
patches: [{path: "https://example.org/p.yaml!p.yaml"}]
configMapGenerator: [{name: gen, files: ["key=https://example.org/f.yaml!f.yaml"], options: {disableNameSuffixHash: true}}]
`,
		"app/here.yaml": named("here"),
	}
	result, asked, err := files.fetching(t, trees, Request{Spec: &kustomizev1.KustomizationSpec{Path: "app"}})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range result.Objects {
		names = append(names, o.GetName())
	}
	if d := cmp.Diff([]string{"c-file", "c-gen", "c-here", "c-nested", "c-shared"}, names); d != "" {
		t.Error(d)
	}
	if text := string(result.Manifests); !strings.Contains(text, `"patched":"yes!"`) || !strings.Contains(text, `"key":"apiVersion`) {
		t.Error(text)
	}
	want := []Address{
		{"https://example.org/repo!base", FileOrDirectory}, {"https://example.org/f.yaml!f.yaml", FileOrDirectory},
		{"git@example.org:org/repo!component", OnlyDirectory}, {"https://example.org/p.yaml!p.yaml", OnlyFile},
		{"https://example.org/f.yaml!f.yaml", OnlyFile}, {"https://example.org/nested!", FileOrDirectory},
	}
	if d := cmp.Diff(want, asked); d != "" {
		t.Error(d)
	}
	if len(result.Remotes) != 6 || result.Remotes[want[5]] != "id of https://example.org/nested!" {
		t.Errorf("used %v", result.Remotes)
	}
	later := maps.Clone(files)
	later["unrelated.yaml"] = configMap
	if !result.ReadSet.Unchanged(later.tree(t)) {
		t.Error("what was fetched counts as read from the source")
	}
}

// Kustomize is given addresses in every field, and what was fetched for them: it must not come to fetch anything itself. The traps of
// TestMain tell.
func TestWhatIsFetchedIsNotFetchedAgain(t *testing.T) {
	kustomization := "kind: Component\nconfigMapGenerator: [{name: x, literals: [a=b]}]\n"
	for field, format := range loadingFields {
		for _, address := range addresses {
			files := source{"kustomization.yaml": fmt.Sprintf(format, address), "a.yaml": configMap}
			req := Request{Remotes: map[Address]Remote{}}
			r := New(Options{})
			for _, form := range []Form{FileOrDirectory, OnlyFile, OnlyDirectory} {
				path := map[Form]string{OnlyFile: "f", OnlyDirectory: ".", FileOrDirectory: "."}[form]
				tree := source{"kustomization.yaml": kustomization, "f": configMap}.tree(t)
				req.Remotes[Address{address, form}] = Remote{Tree: tree, Path: path, ID: "1"}
			}
			_, err := r.Render(t.Context(), files.tree(t), req)
			if _, bad := errors.AsType[*Error](err); err != nil && !bad {
				t.Errorf("%s %s: %v", field, address, err)
			}
		}
	}
}

func TestRemoteBaseStaysInside(t *testing.T) {
	const base = "https://example.org/repo!base"
	for name, kustomization := range map[string]string{
		"relative": "resources: [../../../secret.yaml]\n",
		"absolute": "resources: [/source/secret.yaml]\n",
		"file":     "configMapGenerator: [{name: a, files: [k=../../../secret.yaml]}]\n",
		"base":     "resources: [../../..]\n",
		"patch":    "patches: [{path: ../../../secret.yaml}]\n",
		"another":  "resources: [../../0a0b/x]\n",
	} {
		t.Run(name, func(t *testing.T) {
			files := source{"app/kustomization.yaml": "resources: ['" + base + "']\n", "secret.yaml": configMap}
			trees := map[string]source{"https://example.org/repo": {"base/kustomization.yaml": kustomization}}
			_, _, err := files.fetching(t, trees, Request{Spec: &kustomizev1.KustomizationSpec{Path: "app"}})
			e, ok := errors.AsType[*Error](err)
			if !ok || !strings.Contains(e.Message, "leads out of the remote base") || !strings.HasPrefix(e.File, base+"/base/") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestRemoteBasesAreBounded(t *testing.T) {
	var list []string
	for i := range maxRemotes + 1 {
		list = append(list, fmt.Sprintf("https://example.org/%d", i))
	}
	files := source{"kustomization.yaml": "resources: [" + strings.Join(list, ", ") + "]\n"}
	if _, asked, err := files.fetching(t, nil, Request{}); err == nil || len(asked) > 0 || !strings.Contains(err.Error(), "more than 64") {
		t.Errorf("got %v, asked %d", err, len(asked))
	}
	// A base that names another one each time ends, too.
	chain := map[string]source{}
	for i := range maxRemotes + 1 {
		chain[list[i]] = source{"kustomization.yaml": "resources: ['" + list[min(i+1, maxRemotes)] + "']\n"}
	}
	_, asked, err := source{"kustomization.yaml": "resources: ['" + list[0] + "']\n"}.fetching(t, chain, Request{})
	if e, ok := errors.AsType[*Error](err); !ok || len(asked) > maxRemotes {
		t.Errorf("got %v, asked %d", e, len(asked))
	}
	// And so does one that names itself.
	self := map[string]source{list[0]: {"kustomization.yaml": "resources: ['" + list[0] + "']\n"}}
	if _, asked, err := (source{"kustomization.yaml": "resources: ['" + list[0] + "']\n"}).fetching(t, self, Request{}); err == nil || len(asked) != 1 {
		t.Errorf("got %v, asked %v", err, asked)
	}
}

func TestFailureInRemoteBase(t *testing.T) {
	files := source{"kustomization.yaml": "resources: ['https://example.org/repo?token=secret']\n"}
	trees := map[string]source{"https://example.org/repo?token=secret": {"kustomization.yaml": "resources: [bad.yaml]\n", "bad.yaml": "a: [\n"}}
	_, _, err := files.fetching(t, trees, Request{})
	e, ok := errors.AsType[*Error](err)
	if !ok || e.File != "https://example.org/repo?…/bad.yaml" || strings.Contains(e.Error(), "secret") || len(e.Remotes) != 1 {
		t.Errorf("got %v", err)
	}
}

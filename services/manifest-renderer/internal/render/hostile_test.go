package render

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"strings"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/tree"
)

const configMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"

// A source of files, given as text.
type source map[string]string

func (s source) tree(t testing.TB) *tree.Tree {
	t.Helper()
	files := make(map[string][]byte, len(s))
	for name, text := range s {
		files[name] = []byte(text)
	}
	out, err := tree.New(files)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// failure renders s, which must fail for good and in time.
func (s source) failure(t *testing.T, req Request) *Error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	result, err := New(Options{NoRemotes: true}).Render(ctx, s.tree(t), req)
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("got %v, %v, want an *Error", result, err)
	}
	return e
}

var addresses = []string{
	"https://example.org/app.yaml", "http://example.org/app.yaml", "HTTPS://example.org/app.yaml", "http:example.org",
	"https://github.com/org/repo//deploy?ref=main", "git::https://example.org/repo", "GIT::example", "git::github.com/org/repo",
	"ssh://git@example.org/repo", "ssh://example.org/org/repo", "git@example.org:org/repo", "git@github.com:org/repo.git",
	"me@example.org/org/repo", "github.com/org/repo", "GitHub.com/org/repo", "github.com:org/repo",
	"file:///etc", "FILE:///etc/passwd", "https://user:secret@example.org/x", "https://example.org/x?token=secret@",
}

// loadingFields are kustomizations in which kustomize loads something, or would fetch it.
var loadingFields = map[string]string{
	"resources":             "resources: [%q]",
	"bases":                 "bases: [%q]",
	"components":            "components: [%q]",
	"crds":                  "crds: [%q]",
	"configurations":        "configurations: [%q]",
	"generators":            "generators: [%q]",
	"transformers":          "transformers: [%q]",
	"validators":            "validators: [%q]",
	"openapi":               "openapi: {path: %q}",
	"patches":               "patches: [{path: %q}]",
	"patchesJson6902":       "patchesJson6902: [{path: %q, target: {kind: A, name: a}}]",
	"patchesStrategicMerge": "patchesStrategicMerge: [%q]",
	"replacements":          "replacements: [{path: %q}]",
	"files":                 "configMapGenerator: [{name: a, files: [%q]}]",
	"named files":           "configMapGenerator: [{name: a, files: [\"key=%s\"]}]",
	"envs":                  "configMapGenerator: [{name: a, envs: [%q]}]",
	"env":                   "secretGenerator: [{name: a, env: %q}]",
	"secret files":          "secretGenerator: [{name: a, files: [%q]}]",
	"case":                  "Resources: [%q]",
	"transformer inline":    "transformers:\n- |-\n  apiVersion: builtin\n  kind: PatchTransformer\n  metadata: {name: a}\n  path: %q",
	"transformer's case":    "transformers:\n- |-\n  apiVersion: builtin\n  kind: PatchTransformer\n  metadata: {name: a}\n  PATH: %q",
	"generator inline":      "generators:\n- |-\n  apiVersion: builtin\n  kind: ConfigMapGenerator\n  metadata: {name: a}\n  files: [\"a=%s\"]",
	"replacement inline":    "transformers:\n- |-\n  apiVersion: builtin\n  kind: ReplacementTransformer\n  metadata: {name: a}\n  replacements: [{path: %q}]",
	"value inline":          "transformers:\n- |-\n  apiVersion: builtin\n  kind: ValueAddTransformer\n  metadata: {name: a}\n  targetFilePath: %q",
	"merge inline":          "transformers:\n- |-\n  apiVersion: builtin\n  kind: PatchStrategicMergeTransformer\n  metadata: {name: a}\n  paths: [%q]",
}

func TestRemoteReferencesAreRefused(t *testing.T) {
	places := map[string]func(kustomization string) source{
		"root": func(k string) source { return source{"app/kustomization.yaml": k, "app/a.yaml": configMap} },
		"base": func(k string) source {
			return source{"app/kustomization.yaml": "resources: [../base]\n", "base/Kustomization": k, "app/a.yaml": configMap}
		},
		"component": func(k string) source {
			return source{
				"app/kustomization.yaml":      "components: [../component]\n",
				"component/kustomization.yml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n" + k,
			}
		},
		"below plain files": func(k string) source {
			return source{"app/a.yaml": configMap, "app/sub/kustomization.yaml": k}
		},
	}
	for field, format := range loadingFields {
		for place, files := range places {
			for i, remote := range addresses {
				if i > 0 && place != "root" {
					break
				}
				t.Run(field+"/"+place+"/"+remote, func(t *testing.T) {
					e := files(fmt.Sprintf(format, remote)).failure(t, Request{Spec: &kustomizev1.KustomizationSpec{Path: "app"}})
					if !strings.Contains(e.Message, "is remote") || !strings.Contains(e.Message, shown(remote)) || e.File == "" || strings.Contains(e.Error(), "secret@") {
						t.Errorf("got %v, want that the reference is remote, and where", e)
					}
				})
			}
		}
	}
}

func TestRemoteReferencesOfPlugins(t *testing.T) {
	config := "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: a}\npath: https://example.org/patch.yaml\n"
	tests := map[string]source{
		"in a file": {"kustomization.yaml": "transformers: [plugin.yaml]\n", "plugin.yaml": config},
		"in a directory": {"kustomization.yaml": "transformers: [plugins]\n",
			"plugins/kustomization.yaml": "resources: [a.yaml]\n", "plugins/a.yaml": config},
		"in a directory below": {"kustomization.yaml": "validators: [plugins]\n",
			"plugins/kustomization.yaml": "resources: [more]\n", "plugins/more/kustomization.yaml": "resources: [a.yaml]\n",
			"plugins/more/a.yaml": config},
		"in a list": {"kustomization.yaml": "generators: [plugin.yaml]\n",
			"plugin.yaml": "apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(strings.TrimSpace(config), "\n", "\n  ") + "\n"},
		"put in by a patch": {"kustomization.yaml": "transformers: [plugins]\n", "plugins/kustomization.yaml": `
resources: [a.yaml]
patches: [{patch: '[{op: replace, path: /path, value: "https://example.org"}]', target: {kind: PatchTransformer}}]`,
			"plugins/a.yaml": strings.ReplaceAll(config, "https://example.org/patch.yaml", "local")},
		"in the spec": {"a.yaml": configMap},
	}
	for name, files := range tests {
		t.Run(name, func(t *testing.T) {
			spec := &kustomizev1.KustomizationSpec{}
			if name == "in the spec" {
				spec.Components = []string{"https://example.org/component"}
			}
			e := files.failure(t, Request{Spec: spec})
			if !strings.Contains(e.Message, "remote") && !strings.Contains(e.Message, "may only list") && !strings.Contains(e.Message, "must be local") {
				t.Errorf("got %v", e)
			}
		})
	}
}

func TestNothingIsRun(t *testing.T) {
	tests := map[string]struct {
		files source
		want  string
	}{
		"helm charts":    {source{"kustomization.yaml": "helmCharts: [{name: a, repo: 'https://example.org'}]\n"}, "helm"},
		"helm inflation": {source{"kustomization.yaml": "helmChartInflationGenerator: [{chartName: a}]\n"}, "helm"},
		"helm plugin": {source{"kustomization.yaml": "generators: [g.yaml]\n",
			"g.yaml": "apiVersion: builtin\nkind: HelmChartInflationGenerator\nmetadata: {name: a}\nname: a\n"}, "no built-in plugin"},
		"exec function": {source{"kustomization.yaml": "generators: [g.yaml]\n", "g.yaml": "apiVersion: example.org/v1\nkind: Gen\n" +
			"metadata: {name: a, annotations: {config.kubernetes.io/function: 'exec: {path: ./run}'}}\n"}, "no built-in plugin"},
		"container function": {source{"kustomization.yaml": "transformers: [g.yaml]\n", "g.yaml": "apiVersion: example.org/v1\nkind: Gen\n" +
			"metadata: {name: a, annotations: {config.kubernetes.io/function: 'container: {image: a}'}}\n"}, "no built-in plugin"},
		"go plugin": {source{"kustomization.yaml": "validators: [g.yaml]\n",
			"g.yaml": "apiVersion: someteam.example.com/v1\nkind: ChartInflator\nmetadata: {name: a}\n"}, "no built-in plugin"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if e := tt.files.failure(t, Request{}); !strings.Contains(e.Message, tt.want) || e.File == "" {
				t.Errorf("got %v, want %q and a file", e, tt.want)
			}
		})
	}
}

func TestNothingOutsideIsRead(t *testing.T) {
	for _, format := range []string{
		"resources: [%q]", "components: [%q]", "crds: [%q]", "configurations: [%q]", "generators: [%q]", "transformers: [%q]",
		"openapi: {path: %q}", "patches: [{path: %q}]", "replacements: [{path: %q}]",
		"configMapGenerator: [{name: a, files: [%q]}]", "secretGenerator: [{name: a, envs: [%q]}]",
	} {
		for _, outside := range []string{"../../etc/hostname", "/etc/hostname", "../../../../../../../etc/hostname", "/source/../etc/hostname", "../.."} {
			t.Run(format+outside, func(t *testing.T) {
				files := source{"app/kustomization.yaml": fmt.Sprintf(format, outside), "etc/hostname": configMap}
				e := files.failure(t, Request{Spec: &kustomizev1.KustomizationSpec{Path: "app"}})
				if strings.Contains(e.Message, "is remote") {
					t.Errorf("got %v", e)
				}
			})
		}
	}
}

// A path with too many ".." is the root's, as in Flux.
func TestSpecPathStaysInside(t *testing.T) {
	files := source{"etc/a.yaml": configMap}
	for _, p := range []string{"etc", "./etc", "/etc", "../etc", "../../../etc", "etc/", "x/../etc", "/../etc/."} {
		result, err := New(Options{}).Render(t.Context(), files.tree(t), Request{Spec: &kustomizev1.KustomizationSpec{Path: p}})
		if err != nil || len(result.Objects) != 1 {
			t.Errorf("path %q: %v, %v", p, result, err)
		}
	}
}

func TestHarmfulInput(t *testing.T) {
	kustomized := func(manifest string) source {
		return source{"kustomization.yaml": "namePrefix: a-\nresources: [a.yaml]\n", "a.yaml": manifest}
	}
	plain := func(manifest string) source { return source{"a.yaml": manifest} }
	patched := func(patch string) source {
		return source{"kustomization.yaml": "resources: [a.yaml]\npatches:\n- target: {kind: ConfigMap}\n  path: patch.yaml\n",
			"a.yaml": configMap + "data: {a: b}\n", "patch.yaml": patch}
	}
	tests := map[string]struct {
		files source
		want  string
	}{
		"itself":              {source{"kustomization.yaml": "resources: [.]\n"}, "cycle"},
		"itself by name":      {source{"kustomization.yaml": "resources: [app]\n", "app/kustomization.yaml": "resources: [../app]\n"}, "cycle"},
		"each other":          {source{"kustomization.yaml": "resources: [a]\n", "a/kustomization.yaml": "resources: [../b]\n", "b/kustomization.yaml": "resources: [../a]\n"}, "cycle"},
		"itself as component": {source{"kustomization.yaml": "components: [c]\n", "c/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncomponents: [../c]\n"}, "cycle"},
		"itself as plugin":    {source{"kustomization.yaml": "transformers: [t]\n", "t/kustomization.yaml": "resources: [../t]\n"}, "cycle"},
		"itself as file":      {source{"kustomization.yaml": "resources: [kustomization.yaml]\n"}, ""},
		"doubled bases":       {doubling(40), "kustomization files"},

		"aliases, plain":               {plain(bomb), "expand to too much"},
		"aliases, kustomized":          {kustomized(bomb), "expand to too much"},
		"aliases in a patch":           {patched(bomb), "expand to too much"},
		"aliases in a merge":           {kustomized(configMap + "x: &x {<<: *x}\n"), "stands for itself"},
		"aliases in kustomization":     {source{"kustomization.yaml": "a: &a [x,x,x,x,x,x,x,x,x]\n" + bombOf("commonAnnotations")}, ""},
		"alias of itself, plain":       {plain(configMap + "data: &d {a: *d}\n"), "stands for itself"},
		"deep flow, plain":             {plain(configMap + "data: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000)), "nested too deep"},
		"deep flow, kustomized":        {kustomized(configMap + "data: " + strings.Repeat("{a: ", 5000) + strings.Repeat("}", 5000)), "nested too deep"},
		"deep block":                   {kustomized(configMap + "data:\n" + deepBlock(3000)), "nested too deep"},
		"deep aliases":                 {kustomized(configMap + deepAliases(300)), "nested too deep"},
		"deeper than the parser":       {plain(strings.Repeat("[", 200_000)), "invalid YAML"},
		"many documents":               {plain(strings.Repeat("---\n{}\n", 30_000)), "documents"},
		"no number":                    {plain(configMap + "x: .nan\n"), "a.yaml:4"},
		"no number in a patch":         {patched(configMap + "x: -.inf\n"), "patch.yaml:4"},
		"no string as key":             {kustomized(configMap + "data: {8080: a}\n"), "a.yaml:4: a key is no string"},
		"a key twice":                  {plain(configMap + "data: {a: b, a: c}\n"), "a.yaml:4: a key is there twice"},
		"a key twice, kustomized":      {kustomized(configMap + "data:\n  a: b\n  a: c\n"), "a.yaml:6: a key is there twice"},
		"a tag that does not fit":      {kustomized(configMap + "data: {a: !!int b}\n"), "a.yaml: a value does not fit its tag"},
		"exit by ambiguity":            {exiting, "a number cannot"},
		"definitions in a cycle":       {source{"kustomization.yaml": "crds: [d.json]\n", "d.json": `{"a": {"Schema": {"properties": {"kind": {}, "apiVersion": {}, "metadata": {}, "x": {"$ref": "b"}}}}, "b": {"Schema": {"properties": {"x": {"$ref": "b"}}}}}`}, "refers to itself"},
		"empty definitions":            {source{"kustomization.yaml": "crds: [d.json]\n", "d.json": ""}, "crashed"},
		"copies in a JSON patch":       {patched("[" + strings.Repeat(`{"op": "copy", "from": "/data", "path": "/data/x"}, {"op": "copy", "from": "/data", "path": "/data/y"},`, 40) + `{"op": "test", "path": "/kind", "value": "ConfigMap"}]`), ""},
		"replacements in a circle":     {source{"kustomization.yaml": "resources: [a.yaml]\nreplacements:\n" + strings.Repeat("- {source: {kind: ConfigMap, fieldPath: data.a}, targets: [{select: {kind: ConfigMap}, fieldPaths: [data.a], options: {delimiter: '/', index: -1}}]}\n", 40), "a.yaml": configMap + "data: {a: b}\n"}, "replacements"},
		"replacements into themselves": {source{"kustomization.yaml": "resources: [a.yaml]\nreplacements:\n" + strings.Repeat("- {source: {kind: ConfigMap, fieldPath: data}, targets: [{select: {kind: ConfigMap}, fieldPaths: [data.x], options: {create: true}}]}\n", 40), "a.yaml": configMap + "data: {a: b}\n"}, "replacements"},
		"replacements in a file":       {source{"kustomization.yaml": "resources: [a.yaml]\nreplacements: [{path: r.yaml}]\n", "r.yaml": strings.Repeat("- {source: {kind: ConfigMap, fieldPath: data}, targets: [{select: {kind: ConfigMap}, fieldPaths: ['*.x'], options: {create: true}}]}\n", 40), "a.yaml": configMap + "data: {a: b}\n"}, "replacements"},
		"vars":                         {source{"kustomization.yaml": "resources: [a.yaml]\nvars: [{name: A, objref: {apiVersion: v1, kind: ConfigMap, name: a}, fieldref: {fieldpath: data.a}}]\n", "a.yaml": configMap + "data: {a: " + strings.Repeat("$(A)", 100_000) + "}\n"}, "vars"},
		"many objects":                 {plain(manyObjects(20_001)), "objects"},
		"a large object":               {plain(configMap + "data: {a: " + strings.Repeat("a", 5<<20) + "}\n"), "too large"},
		"a name twice":                 {source{"a.yaml": configMap, "b.yaml": configMap}, "b.yaml: ConfigMap/a: defined already in a.yaml"},
		"a name twice, kustomized":     {source{"kustomization.yaml": "resources: [a.yaml, b.yaml]\n", "a.yaml": configMap, "b.yaml": configMap}, "already registered id"},
		"a generated name":             {plain("apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: a-}\n"), "a.yaml:1: ConfigMap: metadata.generateName"},
		"no name":                      {plain(configMap + "---\napiVersion: v1\nkind: Service\nmetadata: {}\n"), "a.yaml:5: Service: metadata.name is missing"},
		"no name, kustomized":          {kustomized(configMap + "---\napiVersion: v1\nkind: Service\nmetadata: {}\n"), "a.yaml:5: Service: metadata.name is missing"},
		"no kind":                      {plain("apiVersion: v1\nmetadata: {name: a}\n"), "a.yaml:1: kind is missing"},
		"no apiVersion":                {plain("kind: ConfigMap\nmetadata: {name: a}\n"), "a.yaml: ConfigMap/a: apiVersion"},
		"no object":                    {plain("just text\n"), "a.yaml:1: this is no Kubernetes object"},
		"broken YAML":                  {plain("a: b\n---\na: [b\nc: d\n"), "a.yaml:3: invalid YAML: did not find expected"},
		"broken YAML, kustomized":      {kustomized("a: [b\nc: d\n"), "a.yaml:2: invalid YAML: did not find expected"},
		"a field that is none":         {source{"kustomization.yaml": "resouces: []\n"}, `kustomization.yaml: invalid kustomization: unknown field "resouces"`},
		"a field that is none, below":  {source{"kustomization.yaml": "resources: [a]\n", "a/kustomization.yaml": "nope: []\n"}, `a/kustomization.yaml: invalid kustomization: unknown field "nope"`},
		"two kustomization files":      {source{"kustomization.yaml": "resources: [a]\n", "a/kustomization.yaml": "namePrefix: a\n", "a/Kustomization": "namePrefix: a\n"}, "multiple kustomization files under: a"},
		"a missing file":               {source{"kustomization.yaml": "resources: [gone.yaml]\n"}, "gone.yaml"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := tt.files.failure(t, Request{})
			t.Log(e)
			if e.Reason != "BuildFailed" || !strings.Contains(e.Error(), tt.want) {
				t.Errorf("got %s: %v, want %q", e.Reason, e, tt.want)
			}
			if len(e.Error()) > maxMessage || strings.Contains(e.Error(), tree.Root) || strings.Contains(e.Error(), "\n") {
				t.Errorf("the message is not fit to be shown: %q", e.Error())
			}
		})
	}
}

var bomb = configMap + bombOf("data")

// bombOf is a billion of something in a few lines.
func bombOf(field string) string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := range 9 {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d, ", i), 10))
	}
	return b.String() + field + ": *a9\n"
}

func deepBlock(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i+1) + "a:\n")
	}
	return b.String()
}

// deepAliases nests little in each anchor, and much in all of them together.
func deepAliases(n int) string {
	var b strings.Builder
	b.WriteString("a0: &a0 {x: y}\n")
	for i := range n {
		fmt.Fprintf(&b, "a%d: &a%d {x: {y: {z: *a%d}}}\n", i+1, i+1, i)
	}
	return b.String()
}

// doubling is a chain of bases each of which includes the next one twice.
func doubling(n int) source {
	files := source{fmt.Sprintf("d%d/kustomization.yaml", n): "resources: [../a.yaml]\n", "a.yaml": configMap}
	for i := range n {
		files[fmt.Sprintf("d%d/kustomization.yaml", i)] = "resources: [a, b]\n"
		for _, prefix := range []string{"a", "b"} {
			files[path.Join(fmt.Sprintf("d%d", i), prefix, "kustomization.yaml")] = fmt.Sprintf("namePrefix: %s\nresources: [../../d%d]\n", prefix, i+1)
		}
	}
	files["kustomization.yaml"] = "resources: [d0]\n"
	return files
}

func manyObjects(n int) string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: List\nitems:\n")
	for i := range n {
		fmt.Fprintf(&b, "- {apiVersion: v1, kind: ConfigMap, metadata: {name: a%d}}\n", i)
	}
	return b.String()
}

// exiting makes kustomize write an object into an error message, and exit the
// process because that object cannot be written.
var exiting = func() source {
	files := source{"kustomization.yaml": "resources: [one, two, pod.yaml]\n"}
	more := renamed("cm.yaml", "ConfigMap", "")
	for i := 0; i < len(more); i += 2 {
		files[more[i]] = more[i+1]
	}
	files["pod.yaml"] += "x: .nan\n"
	return files
}()

// renamed are two objects that both had the name to which a third refers. Each
// name is followed by the file's content.
func renamed(file, kind, more string) []string {
	overlay := func(name string) string {
		return fmt.Sprintf("resources: [base]\npatches: [{target: {kind: %s}, options: {allowNameChange: true}, patch: '[{\"op\": \"replace\", \"path\": \"/metadata/name\", \"value\": \"%s\"}]'}]\n", kind, name)
	}
	object := "apiVersion: v1\nkind: " + kind + "\nmetadata: {name: s}\n" + more
	ref := map[string]string{"Secret": "secretRef", "ConfigMap": "configMapRef"}[kind]
	return []string{
		"one/kustomization.yaml", overlay("one"), "one/base/kustomization.yaml", "resources: [" + file + "]\n", "one/base/" + file, object,
		"two/kustomization.yaml", overlay("two"), "two/base/kustomization.yaml", "resources: [" + file + "]\n", "two/base/" + file, object,
		"pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, envFrom: [{" + ref + ": {name: s}}]}]}\n",
	}
}

func TestPathNotFound(t *testing.T) {
	e := source{"a.yaml": configMap}.failure(t, Request{Spec: &kustomizev1.KustomizationSpec{Path: "./deploy"}})
	if e.Reason != "ArtifactFailed" || e.Error() != "kustomization path not found: deploy" {
		t.Errorf("got %s: %v", e.Reason, e)
	}
}

// Whatever is refused about one source leaves no trace for the next.
func TestSchemaOfOneSourceIsNotAnothers(t *testing.T) {
	r := New(Options{Builds: 2})
	files := source{
		"kustomization.yaml": "resources: [a.yaml]\npatches: [{path: patch.yaml}]\n",
		"a.yaml":             "apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: a}\nspec: {list: [{name: a, v: 1}, {name: b, v: 2}]}\n",
		"patch.yaml":         "apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: a}\nspec: {list: [{name: b, v: 3}]}\n",
	}
	own := maps.Clone(files)
	own["kustomization.yaml"] += "openapi: {path: schema.json}\n"
	own["schema.json"] = `{"definitions": {"org.example.v1.Thing": {"type": "object",
		"x-kubernetes-group-version-kind": [{"group": "example.org", "kind": "Thing", "version": "v1"}],
		"properties": {"spec": {"type": "object", "properties": {"list": {"type": "array", "x-kubernetes-patch-merge-key": "name",
		"x-kubernetes-patch-strategy": "merge", "items": {"type": "object", "properties": {"name": {"type": "string"}}}}}}}}}}`
	for range 2 {
		for _, tt := range []struct {
			files source
			want  int
		}{{files, 1}, {own, 2}} {
			result, err := r.Render(t.Context(), tt.files.tree(t), Request{})
			if err != nil {
				t.Fatal(err)
			}
			spec := result.Objects[0].Object["spec"].(map[string]any)
			if got := len(spec["list"].([]any)); got != tt.want {
				t.Errorf("%d elements, want %d", got, tt.want)
			}
		}
	}
}

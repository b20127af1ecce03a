package git

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/libs/archive"
	"github.com/sluice-cd/sluice/libs/gittest"
)

// rawTree writes a tree with any entries, valid or not, and points main at it.
func (w *world) rawTree(entries ...string) {
	w.Helper()
	var raw strings.Builder
	for i := 0; i < len(entries); i += 3 {
		fmt.Fprintf(&raw, "%s %s\x00", entries[i], entries[i+1])
		for b := range 20 {
			var value byte
			_, err := fmt.Sscanf(entries[i+2][2*b:2*b+2], "%02x", &value)
			w.do(err)
			raw.WriteByte(value)
		}
	}
	tree := must3(w.T)(w.repo.Object(w.Context(), "tree", []byte(raw.String())))
	commit := must3(w.T)(w.repo.Object(w.Context(), "commit", fmt.Appendf(nil,
		"tree %s\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nhostile\n", tree)))
	w.do(w.repo.SetRef(w.Context(), "refs/heads/main", commit))
}

func TestHostileTrees(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.write("a", "1", "dir/b", "1")
	blob := must3(t)(w.repo.Resolve(t.Context(), "refs/heads/main:a"))
	dir := must3(t)(w.repo.Resolve(t.Context(), "refs/heads/main:dir"))
	for name, entries := range map[string][]string{
		"parent":           {"100644", "..", blob},
		"parent directory": {"40000", "..", dir},
		"here":             {"40000", ".", dir},
		"git directory":    {"40000", ".git", dir},
		"Git directory":    {"40000", ".GiT", dir},
		"slash":            {"100644", "../../etc/passwd", blob},
		"absolute":         {"100644", "/etc/passwd", blob},
		"twice":            {"100644", "a", blob, "100644", "a", blob},
		"file and dir":     {"100644", "a", blob, "40000", "a", dir},
		"device":           {"20644", "a", blob},
		"backslash":        {"100644", `..\a`, blob},
	} {
		t.Run(name, func(t *testing.T) {
			w.rawTree(entries...)
			files, err := w.tryFiles(t.Context(), w.source(Ref{Branch: "main"}), Selection{})
			wantError(t, err, ErrInvalidTree, "127.0.0.1")
			if len(files) > 0 {
				t.Errorf("read %v", files)
			}
		})
	}
}

// A few small trees that stand for billions of files.
func TestTreeBomb(t *testing.T) {
	for name, leaf := range map[string]string{"files": "100644", "directories": "40000"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			w.mirrors = w.open(Limits{Entries: 10_000})
			content, kind := []byte("lol"), "blob"
			if leaf == "40000" {
				content, kind = nil, "tree"
			}
			hash := must3(t)(w.repo.Object(t.Context(), kind, content))
			mode := leaf
			for range 11 {
				var entries []string
				for i := range 10 {
					entries = append(entries, mode, fmt.Sprint("d", i), hash)
				}
				w.rawTree(entries...)
				hash = must3(t)(w.repo.Resolve(t.Context(), "refs/heads/main^{tree}"))
				mode = "40000"
			}
			_, err := w.tryFiles(t.Context(), w.source(Ref{Branch: "main"}), Selection{})
			wantError(t, err, ErrTooLarge)
			s := w.fetch(Ref{Branch: "main"})
			w.commit(gittest.Commit{Orphan: true, Files: map[string]string{"x": "y"}})
			if _, known, err := w.fetch(Ref{Branch: "main"}).ChangedPaths(t.Context(), s.Revision.String(), 100); err != nil || known {
				t.Errorf("changed paths: %v, %v", known, err)
			}
		})
	}
}

func TestDeepTree(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.write(strings.Repeat("d/", 100)+"a", "fine")
	if got := w.files(w.fetch(Ref{Branch: "main"}), Selection{}); len(got) != 1 {
		t.Fatalf("got %v", got)
	}
	w.write(strings.Repeat("d/", 200)+"a", "too deep")
	_, err := w.tryFiles(t.Context(), w.source(Ref{Branch: "main"}), Selection{})
	wantError(t, err, ErrInvalidTree, "deep")
}

func TestOnlyRegularFiles(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.commit(gittest.Commit{
		Files:      map[string]string{"run.sh": "#!", "a.yaml": "a", "dir/ünï.yaml": "u"},
		Executable: []string{"run.sh"},
		Symlinks:   map[string]string{"link": "/etc/passwd", "dir/up": "../..", ".sourceignore": "a.yaml"},
		Submodules: map[string]string{"sub": strings.Repeat("ab", 20)},
	})
	files, err := w.fetch(Ref{Branch: "main"}).Files(t.Context(), Selection{})
	w.do(err)
	var got []string
	for _, f := range files {
		got = append(got, fmt.Sprintf("%s %v %d", f.Path, f.Executable, f.Size))
	}
	if diff := cmp.Diff([]string{"a.yaml false -1", "dir/ünï.yaml false -1", "run.sh true -1"}, got); diff != "" {
		t.Fatal(diff)
	}
	_, first, err := archive.PackBytes(files)
	w.do(err)
	again, err := w.fetch(Ref{Branch: "main"}).Files(t.Context(), Selection{})
	w.do(err)
	if _, second, err := archive.PackBytes(again); err != nil || first != second {
		t.Fatalf("two archives of one commit: %s, %s, %v", first, second, err)
	}
}

func names(files map[string]string) []string { return slices.Sorted(maps.Keys(files)) }

func TestIgnoreRules(t *testing.T) {
	text := func(s string) *string { return &s }
	tree := []string{
		"a.yaml", "a", "photo.jpg", "x", "chart.tar.gz", "x", ".gitignore", "x", "sub/.gitattributes", "x", ".github/workflows/ci.yml", "x",
		".flux.yaml", "x", "sub/.sops.yaml", "x", "deploy/b.yaml", "b", "deploy/README.md", "x", "deploy/deep/c.yaml", "c", "docs/d.md", "d",
	}
	kept := []string{"a.yaml", "deploy/README.md", "deploy/b.yaml", "deploy/deep/c.yaml", "docs/d.md"}
	for name, test := range map[string]struct {
		extra []string
		spec  *string
		want  []string
	}{
		"default exclusions": {nil, nil, kept},
		"empty spec":         {nil, text(""), kept},
		"comments only":      {nil, text("# nothing\n\n"), kept},
		"spec takes the place of the defaults": {nil, text("docs/\n"), []string{
			".flux.yaml", ".github/workflows/ci.yml", "a.yaml", "chart.tar.gz", "deploy/README.md", "deploy/b.yaml", "deploy/deep/c.yaml", "photo.jpg", "sub/.sops.yaml",
		}},
		"example of the specification": {nil, text("# exclude all\n/*\n# include deploy dir\n!/deploy\n# exclude file extensions from deploy dir\n/deploy/**/*.md\n/deploy/**/*.txt\n"), []string{
			"deploy/b.yaml", "deploy/deep/c.yaml",
		}},
		"file takes the place of the defaults": {[]string{".sourceignore", "*.md\n.sourceignore\n/sub\n/.github\n/.flux.yaml\n"}, nil, []string{
			"a.yaml", "chart.tar.gz", "deploy/b.yaml", "deploy/deep/c.yaml", "photo.jpg",
		}},
		"file further down, for its directory": {[]string{"deploy/.sourceignore", "*.yaml\n!c.yaml\n.sourceignore"}, text("/sub\n.github\n.flux.yaml\n*.gz\n*.jpg"), []string{
			"a.yaml", "deploy/README.md", "deploy/deep/c.yaml", "docs/d.md",
		}},
		"further down wins": {[]string{".sourceignore", "*.yaml\n.sourceignore\n", "deploy/.sourceignore", "!b.yaml\n"}, text("/sub\n.github\n.flux.yaml\n*.gz\n*.jpg"), []string{
			"deploy/README.md", "deploy/b.yaml", "docs/d.md",
		}},
		// git sorts "+dir" before ".sourceignore"; the rules of the upper directory come first all the same.
		"further down wins, sorted before": {[]string{".sourceignore", "*.yaml\n.sourceignore\n", "+dir/.sourceignore", "!z.yaml\n", "+dir/z.yaml", "z"}, text("/sub\n.github\n.flux.yaml\n*.gz\n*.jpg"), []string{
			"+dir/z.yaml", "deploy/README.md", "docs/d.md",
		}},
		"spec wins over files": {[]string{".sourceignore", "*.yaml\n.sourceignore\n"}, text("!a.yaml\n/sub\n.github\n*.gz\n*.jpg"), []string{
			"a.yaml", "deploy/README.md", "docs/d.md",
		}},
		"git's own files only when asked for": {nil, text("*\n!.gitignore\n"), []string{".gitignore"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, gittest.Options{})
			w.write(append(slices.Clone(tree), test.extra...)...)
			got := names(w.files(w.fetch(Ref{Branch: "main"}), Selection{Ignore: test.spec}))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func TestSparseCheckout(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.write("a", "1", "charts/b", "1", "charts/x/c", "1", "charts-old/d", "1", "kustomize/base/e", "1", "kustomize/f", "1", "photo.jpg", "1")
	s := w.fetch(Ref{Branch: "main"})
	for name, test := range map[string]struct{ dirs, want []string }{
		"none":   {nil, []string{"a", "charts-old/d", "charts/b", "charts/x/c", "kustomize/base/e", "kustomize/f"}},
		"two":    {[]string{"charts", "kustomize"}, []string{"charts/b", "charts/x/c", "kustomize/base/e", "kustomize/f"}},
		"dotted": {[]string{"./charts/"}, []string{"charts/b", "charts/x/c"}},
		"below":  {[]string{"kustomize/base"}, []string{"kustomize/base/e"}},
		"root":   {[]string{"."}, []string{"a", "charts-old/d", "charts/b", "charts/x/c", "kustomize/base/e", "kustomize/f"}},
		"file":   {[]string{"a"}, []string{"a"}},
	} {
		if diff := cmp.Diff(test.want, names(w.files(s, Selection{Sparse: test.dirs}))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	_, err := s.Files(t.Context(), Selection{Sparse: []string{"charts", "nowhere"}})
	wantError(t, err, ErrNotFound, "nowhere")
	_, err = s.Files(t.Context(), Selection{Sparse: []string{"../../etc"}})
	wantError(t, err, ErrNotFound)
}

func TestLimits(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.write("a.yaml", "1", "big.zip", strings.Repeat("x", 200_000), "noise.png", noise(9, 100_000))
	everything := "# no rule is left\nnothing\n"
	for name, test := range map[string]struct {
		limits Limits
		ignore *string
		fails  bool
	}{
		"ignored files do not count": {Limits{FileBytes: 1000, TotalBytes: 1000}, nil, false},
		"file":                       {Limits{FileBytes: 100_000}, &everything, true},
		"total":                      {Limits{TotalBytes: 250_000}, &everything, true},
		"entries":                    {Limits{Entries: 2}, nil, true},
		"pack":                       {Limits{PackBytes: 50_000}, nil, true},
		"object":                     {Limits{ObjectBytes: 150_000}, nil, true},
		"unpacked":                   {Limits{UnpackedBytes: 250_000}, nil, true},
		"all just large enough":      {Limits{FileBytes: 200_000, TotalBytes: 400_000, Entries: 10, PackBytes: 200_000, ObjectBytes: 200_000, UnpackedBytes: 400_000}, &everything, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{T: t, dir: t.TempDir(), server: w.server, repo: w.repo}
			w.mirrors = w.open(test.limits)
			_, err := w.tryFiles(t.Context(), w.source(Ref{Branch: "main"}), Selection{Ignore: test.ignore})
			if test.fails {
				wantError(t, err, ErrTooLarge)
			} else if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A delta of some bytes can stand for an object of any size.
func TestDeltaBomb(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.write("a", strings.Repeat("0123456789abcdef", 4000), "b", strings.Repeat("0123456789abcdef", 4001))
	if _, err := w.repo.Git(t.Context(), nil, "repack", "-adfq"); err != nil {
		t.Fatal(err)
	}
	w.mirrors = w.open(Limits{UnpackedBytes: 100_000})
	_, err := w.tryFiles(t.Context(), w.source(Ref{Branch: "main"}), Selection{})
	wantError(t, err, ErrTooLarge)
}

// What servers of our own making refuse to send.
func TestParseTree(t *testing.T) {
	hash := strings.Repeat("x", 20)
	for name, raw := range map[string]string{
		"empty name": "100644 \x00" + hash, "no mode": " a\x00" + hash, "short hash": "100644 a\x00xyz", "no end": "100644 a", "no name": "100644",
		"mode of a device": "60644 a\x00" + hash, "mode in words": "file a\x00" + hash, "rest": "100644 a\x00" + hash + "x",
	} {
		if entries, err := parseTree([]byte(raw)); err == nil {
			t.Errorf("%s: %v", name, entries)
		}
	}
	if entries, err := parseTree([]byte("100644 a b\x00" + hash + "40000 c\x00" + hash)); err != nil || len(entries) != 2 || entries[0].name != "a b" {
		t.Errorf("%v, %v", entries, err)
	}
}

func FuzzParseTree(f *testing.F) {
	f.Add([]byte("100644 a\x00" + strings.Repeat("x", 20)))
	f.Add([]byte("40000 ..\x00" + strings.Repeat("x", 20)))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := parseTree(data)
		if err != nil {
			return
		}
		for _, e := range entries {
			if e.name == "" || e.name == ".." || strings.ContainsAny(e.name, "/\x00") || len(e.hash) != 40 {
				t.Fatalf("let %+v through", e)
			}
		}
	})
}

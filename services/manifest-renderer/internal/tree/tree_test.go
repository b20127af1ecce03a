package tree

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

func newTree(t testing.TB, names ...string) *Tree {
	t.Helper()
	files := make(map[string][]byte)
	for _, name := range names {
		files[name] = []byte("content of " + name)
	}
	tree, err := New(files)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func newView(t testing.TB, tree *Tree) *View {
	return NewView(t.Context(), tree, Budget{Lookups: 1000, Bytes: 1 << 20})
}

func TestNewRefusesBadPaths(t *testing.T) {
	for _, name := range []string{
		"", ".", "..", "/a", "../a", "a/../b", "a/../../b", "./a", "a/", "a//b", "a/./b", strings.Repeat("a", MaxPath+1),
	} {
		if _, err := New(map[string][]byte{name: nil}); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
	if _, err := New(map[string][]byte{"a/b": nil, "a": nil}); err == nil {
		t.Error("a file that is a directory too is accepted")
	}
	odd, err := New(map[string][]byte{"a\x00b": nil, "a\xffb": nil, "Icon\r": nil, "../\n": nil, "b": nil})
	if err != nil || odd.Len() != 1 {
		t.Errorf("files with odd names: %v", err)
	}
	for _, name := range []string{"a", "..a", "a/..b/c", ".a", "a b", "ü"} {
		if _, err := New(map[string][]byte{name: nil}); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestViewAnswersAndRecords(t *testing.T) {
	source := newTree(t, "a/b/c.yaml", "a/d.yaml", "e.yaml")
	tests := []struct {
		name string
		ask  func(filesys.FileSystem) any
		want any
		read map[string]byte // recorded
	}{
		{"a file exists", func(f filesys.FileSystem) any { return f.Exists("/source/e.yaml") }, true, map[string]byte{"e.yaml": isFile}},
		{"a directory exists", func(f filesys.FileSystem) any { return f.Exists("/source/a") }, true, map[string]byte{"a": isDir}},
		{"nothing exists", func(f filesys.FileSystem) any { return f.Exists("/source/x") }, false, map[string]byte{"x": isAbsent}},
		{"below a file", func(f filesys.FileSystem) any { return f.Exists("/source/e.yaml/x") }, false, map[string]byte{"e.yaml/x": isAbsent}},
		{"relative", func(f filesys.FileSystem) any { return f.Exists("a/../e.yaml") }, true, map[string]byte{"e.yaml": isFile}},
		{"a file is no directory", func(f filesys.FileSystem) any { return f.IsDir("/source/e.yaml") }, false, map[string]byte{"e.yaml": isFile}},
		{"the root is a directory", func(f filesys.FileSystem) any { return f.IsDir("/source") }, true, map[string]byte{".": isDir}},
		{"outside", func(f filesys.FileSystem) any { return f.Exists("/etc/passwd") || f.IsDir("/") || f.Exists("../x") }, false, nil},
		{"beside the root", func(f filesys.FileSystem) any { return f.Exists("/source2/e.yaml") }, false, nil},
		{"read", func(f filesys.FileSystem) any { b, err := f.ReadFile("/source/e.yaml"); return orError(string(b), err) },
			"content of e.yaml", map[string]byte{"e.yaml": wasRead}},
		{"read and seen", func(f filesys.FileSystem) any { _, _ = f.ReadFile("e.yaml"); return f.Exists("e.yaml") }, true, map[string]byte{"e.yaml": wasRead}},
		{"read nothing", func(f filesys.FileSystem) any {
			_, err := f.ReadFile("/source/x")
			return errors.Is(err, fs.ErrNotExist)
		},
			true, map[string]byte{"x": isAbsent}},
		{"read a directory", func(f filesys.FileSystem) any { _, err := f.ReadFile("/source/a"); return err != nil }, true, map[string]byte{"a": isDir}},
		{"read outside", func(f filesys.FileSystem) any { _, err := f.ReadFile("/source/../etc/passwd"); return err != nil }, true, nil},
		{"open", func(f filesys.FileSystem) any {
			file, err := f.Open("/source/e.yaml")
			if err != nil {
				return err
			}
			b, err := io.ReadAll(file)
			return orError(string(b), err)
		}, "content of e.yaml", map[string]byte{"e.yaml": wasRead}},
		{"list", func(f filesys.FileSystem) any { names, _ := f.ReadDir("/source/a"); return names }, []string{"b", "d.yaml"}, map[string]byte{"a": wasListed}},
		{"list a file", func(f filesys.FileSystem) any { _, err := f.ReadDir("e.yaml"); return err != nil }, true, map[string]byte{"e.yaml": isFile}},
		{"clean a directory", func(f filesys.FileSystem) any { d, n, _ := f.CleanedAbs("/source/a/b/.."); return string(d) + ":" + n },
			"/source/a:", map[string]byte{"a": isDir}},
		{"clean a file", func(f filesys.FileSystem) any {
			d, n, _ := f.CleanedAbs("/source/a/d.yaml")
			return string(d) + ":" + n
		},
			"/source/a:d.yaml", map[string]byte{"a/d.yaml": isFile}},
		{"clean nothing", func(f filesys.FileSystem) any { _, _, err := f.CleanedAbs("/source/x"); return err != nil }, true, map[string]byte{"x": isAbsent}},
		{"glob", func(f filesys.FileSystem) any { names, _ := f.Glob("/source/a/*.yaml"); return names },
			[]string{"/source/a/d.yaml"}, map[string]byte{"a": wasListed}},
		{"glob in many", func(f filesys.FileSystem) any { names, _ := f.Glob("*/*/c.*"); return names },
			[]string{"a/b/c.yaml"}, map[string]byte{".": wasListed, "a": wasListed, "a/b": wasListed}},
		{"glob without a star", func(f filesys.FileSystem) any { names, _ := f.Glob("a/x"); return names }, []string(nil), map[string]byte{"a": isDir, "a/x": isAbsent}},
		{"a bad glob", func(f filesys.FileSystem) any { _, err := f.Glob("a/["); return err != nil }, true, nil},
		{"walk", func(f filesys.FileSystem) any { return walked(f, "/source", "") },
			"/source /source/a /source/a/b /source/a/b/c.yaml /source/a/d.yaml /source/e.yaml",
			map[string]byte{".": wasListed, "a": wasListed, "a/b": wasListed}},
		{"walk past a directory", func(f filesys.FileSystem) any { return walked(f, "/source", "/source/a/b") },
			"/source /source/a /source/a/b /source/a/d.yaml /source/e.yaml", map[string]byte{".": wasListed, "a": wasListed}},
		{"walk a file", func(f filesys.FileSystem) any { return walked(f, "e.yaml", "") }, "e.yaml", map[string]byte{"e.yaml": isFile}},
		{"write", func(f filesys.FileSystem) any {
			_, err := f.Create("x")
			return err != nil && f.Mkdir("x") != nil && f.MkdirAll("x") != nil && f.RemoveAll("a") != nil && f.WriteFile("e.yaml", nil) != nil
		}, true, nil},
		{"a text", func(f filesys.FileSystem) any {
			_, err := f.ReadFile("/source/a: b\nc: d")
			return f.Exists("x\n") || err == nil
		}, false, nil},
		{"too long a name", func(f filesys.FileSystem) any { return f.Exists(strings.Repeat("a", MaxPath+1)) }, false, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := newView(t, source)
			if diff := cmp.Diff(tt.want, tt.ask(v.FileSystem())); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			got := make(map[string]byte)
			for name, fact := range v.ReadSet().facts {
				got[name] = fact[0]
			}
			if tt.name == "glob without a star" {
				delete(got, ".")
			}
			if diff := cmp.Diff(tt.read, got); diff != "" && len(got)+len(tt.read) > 0 {
				t.Errorf("recorded (-want +got):\n%s", diff)
			}
			if !v.ReadSet().Unchanged(source) {
				t.Error("the tree itself counts as changed")
			}
		})
	}
}

func orError(s string, err error) any {
	if err != nil {
		return err
	}
	return s
}

func walked(f filesys.FileSystem, root, skip string) string {
	var seen []string
	err := f.Walk(root, func(p string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		seen = append(seen, p)
		if p == skip {
			return filepath.SkipDir
		}
		return nil
	})
	if err != nil {
		return err.Error()
	}
	return strings.Join(seen, " ")
}

func TestUnchanged(t *testing.T) {
	v := newView(t, newTree(t, "a/b.yaml", "a/c.yaml", "d/e.yaml", "seen"))
	f := v.FileSystem()
	if _, err := f.ReadFile("a/b.yaml"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadDir("d"); err != nil {
		t.Fatal(err)
	}
	f.Exists("missing/file")
	f.Exists("seen")
	set := v.ReadSet()
	tests := []struct {
		name   string
		files  []string
		change string
		want   bool
	}{
		{"the same", []string{"a/b.yaml", "a/c.yaml", "d/e.yaml", "seen"}, "", true},
		{"unrelated", []string{"a/b.yaml", "d/e.yaml", "seen", "x", "a/y"}, "", true},
		{"content that was read", []string{"a/b.yaml", "d/e.yaml", "seen"}, "a/b.yaml", false},
		{"content that was not read", []string{"a/b.yaml", "d/e.yaml", "seen"}, "seen", true},
		{"content in a listed directory", []string{"a/b.yaml", "d/e.yaml", "seen"}, "d/e.yaml", true},
		{"a name in a listed directory", []string{"a/b.yaml", "d/e.yaml", "d/f", "seen"}, "", false},
		{"another name in a listed directory", []string{"a/b.yaml", "d/f.yaml", "seen"}, "", false},
		{"a file there became a directory", []string{"a/b.yaml", "d/e.yaml/x", "seen"}, "", false},
		{"what was missing", []string{"a/b.yaml", "d/e.yaml", "seen", "missing/file"}, "", false},
		{"what was missing, as a directory", []string{"a/b.yaml", "d/e.yaml", "seen", "missing/file/x"}, "", false},
		{"beside what was missing", []string{"a/b.yaml", "d/e.yaml", "seen", "missing/other"}, "", true},
		{"what was seen is gone", []string{"a/b.yaml", "d/e.yaml"}, "", false},
		{"what was seen is a directory", []string{"a/b.yaml", "d/e.yaml", "seen/x"}, "", false},
		{"nothing", nil, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := make(map[string][]byte)
			for _, name := range tt.files {
				files[name] = []byte("content of " + name)
			}
			if tt.change != "" {
				files[tt.change] = []byte("changed")
			}
			other, err := New(files)
			if err != nil {
				t.Fatal(err)
			}
			if got := set.Unchanged(other); got != tt.want {
				t.Errorf("unchanged = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestReadSetJSON(t *testing.T) {
	source := newTree(t, "a/b.yaml", "c")
	v := newView(t, source)
	if _, err := v.Read("a/b.yaml"); err != nil {
		t.Fatal(err)
	}
	v.Stat("missing")
	text, err := json.Marshal(v.ReadSet())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"v":1,"r":{"a/b.yaml":"feRBAO0hbmL2DfLmg-WzUHg","missing":"-"}}`
	if string(text) != want {
		t.Errorf("got %s, want %s", text, want)
	}
	var again ReadSet
	if err := json.Unmarshal(text, &again); err != nil || !again.Unchanged(source) || again.Len() != 2 {
		t.Errorf("read back: %v, %v", again, err)
	}
	for _, bad := range []string{`{"v":2,"r":{}}`, `{}`, `null`} {
		var set ReadSet
		if err := json.Unmarshal([]byte(bad), &set); err != nil || set.Unchanged(source) {
			t.Errorf("%s: error %v, unchanged %v", bad, err, set.Unchanged(source))
		}
	}
	for _, bad := range []string{`{"v":1,"r":{"a":""}}`, `[]`, `{"v":1,"r":{"a":1}}`} {
		var set ReadSet
		if err := json.Unmarshal([]byte(bad), &set); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
	if (ReadSet{}).Unchanged(source) {
		t.Error("the zero read-set counts as unchanged")
	}
}

func TestOverlayIsSeenButNotRecorded(t *testing.T) {
	v := newView(t, newTree(t, "a/b.yaml"))
	v.Overlay("a/k.yaml", []byte("generated"))
	f := v.FileSystem()
	if got, err := f.ReadFile("/source/a/k.yaml"); err != nil || string(got) != "generated" {
		t.Errorf("got %q, %v", got, err)
	}
	if got, _ := f.ReadDir("/source/a"); !slices.Equal(got, []string{"b.yaml", "k.yaml"}) {
		t.Errorf("listed %v", got)
	}
	if got := slices.Collect(maps.Keys(v.ReadSet().facts)); !slices.Equal(got, []string{"a"}) {
		t.Errorf("recorded %v", got)
	}
}

func TestViewStops(t *testing.T) {
	source := newTree(t, "a", "b")
	ctx, cancel := context.WithCancel(t.Context())
	refused := errors.New("refused")
	tests := map[string]struct {
		view *View
		want error
	}{
		"lookups": {NewView(t.Context(), source, Budget{Lookups: 1, Bytes: 100}), ErrTooMuch},
		"bytes":   {NewView(t.Context(), source, Budget{Lookups: 100, Bytes: 15}), ErrTooMuch},
		"refused": {NewView(t.Context(), source, Budget{Lookups: 100, Bytes: 100}), refused},
		"ended":   {NewView(ctx, source, Budget{Lookups: 100, Bytes: 100}), context.Canceled},
	}
	tests["refused"].view.OnRead = func(name string, data []byte) ([]byte, error) {
		if name == "b" && bytes.Equal(data, []byte("content of b")) {
			return nil, refused
		}
		return data, nil
	}
	cancel()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, errA := tt.view.Read("a")
			_, errB := tt.view.Read("b")
			if !errors.Is(errors.Join(errA, errB), tt.want) || !errors.Is(tt.view.Err(), tt.want) {
				t.Errorf("got %v, %v, %v, want %v", errA, errB, tt.view.Err(), tt.want)
			}
			if tt.view.Stat("a") != Absent {
				t.Error("it answers still")
			}
		})
	}
}

func TestCheckIsMadeOnce(t *testing.T) {
	source, calls, bad := newTree(t, "a", "b"), 0, errors.New("bad")
	check := func(data []byte) error {
		calls++
		if string(data) == "content of b" {
			return bad
		}
		return nil
	}
	for range 3 {
		if errA, errB := source.Check("a", check), source.Check("b", check); errA != nil || !errors.Is(errB, bad) {
			t.Errorf("got %v, %v", errA, errB)
		}
	}
	if calls != 2 {
		t.Errorf("%d checks, want 2", calls)
	}
}

// Of two revisions, what did not change is in memory once, and so are the texts of what was read.
func TestRevisionsShare(t *testing.T) {
	files := func(b string) map[string][]byte {
		return map[string][]byte{"dir/a": []byte("same"), "dir/b": []byte(b), "new-" + b + "/c": nil}
	}
	was, err := New(files("1"))
	if err != nil {
		t.Fatal(err)
	}
	is, err := NewLike(files("2"), was)
	if err != nil {
		t.Fatal(err)
	}
	if is.files["dir/a"] != was.files["dir/a"] || is.dirs["dir"] != was.dirs["dir"] {
		t.Error("what is the same is not shared")
	}
	if string(is.files["dir/b"].data) != "2" || is.dirs["."] == was.dirs["."] || is.files["new-1/c"] != nil || is.Size() != was.Size() {
		t.Error("what changed is shared")
	}
	for name, changed := range map[string]bool{"dir/a": false, "dir/b": true} {
		view := NewView(t.Context(), was, Budget{Lookups: 10, Bytes: 100})
		if _, err := view.Read(name); err != nil {
			t.Fatal(err)
		}
		if view.ReadSet().Unchanged(is) == changed {
			t.Errorf("%s: changed is %t, want %t", name, !changed, changed)
		}
	}
}

func TestMountIsSeenButNotRecorded(t *testing.T) {
	v := newView(t, newTree(t, "a/b.yaml"))
	if dir := v.Mount("x", newTree(t, "c/d.yaml")); dir != ".remote/x" {
		t.Fatal(dir)
	}
	f := v.FileSystem()
	if got, err := f.ReadFile("/source/a/../.remote/x/c/d.yaml"); err != nil || string(got) != "content of c/d.yaml" {
		t.Errorf("got %q, %v", got, err)
	}
	if got, _ := f.ReadDir("/source/.remote/x/c"); !slices.Equal(got, []string{"d.yaml"}) {
		t.Errorf("listed %v", got)
	}
	if !f.IsDir("/source/.remote/x") || f.Exists("/source/.remote/x/e") || f.Exists("/source/.remote/y/c") {
		t.Error("it shows something else than the tree")
	}
	if got := slices.Collect(maps.Keys(v.ReadSet().facts)); !slices.Equal(got, []string{".remote/y/c"}) {
		t.Errorf("recorded %v", got)
	}
	var read []string
	for name := range v.Files() {
		read = append(read, name)
	}
	if !slices.Equal(read, []string{".remote/x/c/d.yaml"}) || v.MountOf(read[0]) != ".remote/x" || v.MountOf("a") != "" {
		t.Errorf("read %v", read)
	}
}

package branch

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/libs/git"
	"github.com/sluice-cd/sluice/libs/gittest"
)

// A commit arrives by every protocol, changes what it says and nothing else, and
// the next one stands on it without fetching it.
func TestCommitAndPush(t *testing.T) {
	protocols(t, func(w *world) {
		first := w.seed(gittest.Commit{
			Files:      map[string]string{"a.yaml": "1", "run.sh": "1", "dir/b.yaml": "1", "dir.yaml": "1", "dir/deep/c.yaml": "1"},
			Executable: []string{"run.sh"}, Symlinks: map[string]string{"link": "a.yaml"},
		})
		b := w.open("")
		d := draft("a.yaml", "2", "run.sh", "2", "dir/deep/c.yaml", "2", "new/d.yaml", "2", "dir/b.yaml", "1")
		c, err := push(w.Context(), b, d)
		w.do(err)
		if c.Objects != 6 { // one content of 4 files, 4 directories, the commit
			w.Errorf("pushed %d objects", c.Objects)
		}
		if diff := cmp.Diff([]string{"a.yaml", "dir/deep/c.yaml", "new/d.yaml", "run.sh"}, c.Paths); diff != "" {
			w.Error(diff)
		}
		if got := w.git("log", "--format=%H|%P|%an <%ae>|%cn <%ce>|%aI|%cI|%B", "-1", "main"); got !=
			c.Hash+"|"+first+"|Bot <bot@example.com>|Bot <bot@example.com>|2026-03-01T12:00:00+01:00|2026-03-01T12:00:00+01:00|update" {
			w.Error(got)
		}
		changes := "M\ta.yaml\nM\tdir/deep/c.yaml\nA\tnew/d.yaml\nM\trun.sh"
		if got := w.git("diff", "--name-status", first, "main"); got != changes {
			w.Error(got)
		}
		if got := w.git("diff", "--summary", first, "main"); got != "create mode 100644 new/d.yaml" {
			w.Error(got)
		}
		w.sound()
		w.server.ResetRequests()
		second, err := push(w.Context(), w.open(""), draft("a.yaml", "3"))
		w.do(err)
		if parent := w.git("rev-parse", "main~1"); parent != c.Hash || second.Parents[0] != c.Hash {
			w.Errorf("the second commit stands on %s", parent)
		}
		for _, r := range w.server.Requests() {
			if r.Method == "POST" && strings.HasSuffix(r.Path, "upload-pack") && r.ResponseBytes > 500 {
				w.Errorf("the own commit was fetched again: %+v", r)
			}
		}
		w.sound()
	})
}

func TestAnotherBranch(t *testing.T) {
	protocols(t, func(w *world) {
		first := w.seed(gittest.Commit{Files: map[string]string{"a": "1", "b": "1"}})
		b := w.open("auto/images")
		if b.Exists() || b.Head().Hash() != first {
			w.Fatalf("exists %v, head %s", b.Exists(), b.Head().Hash())
		}
		c, err := push(w.Context(), b, draft("a", "2"))
		w.do(err)
		if got := w.git("rev-parse", "auto/images", "main"); got != c.Hash+"\n"+first {
			w.Fatal(got)
		}
		// The base moves on: the branch follows by a merge, and loses nothing.
		base := w.seed(gittest.Commit{Files: map[string]string{"b": "2"}})
		b = w.open("auto/images")
		if !b.Exists() || b.Head().Hash() != c.Hash || b.Base().Hash() != base {
			w.Fatalf("exists %v, head %s, base %s", b.Exists(), b.Head().Hash(), b.Base().Hash())
		}
		d := draft("a", "3")
		d.Onto, d.Merge = b.Base(), []*Head{b.Base()}
		merged, err := push(w.Context(), b, d)
		w.do(err)
		if diff := cmp.Diff([]string{c.Hash, base}, merged.Parents); diff != "" {
			w.Error(diff)
		}
		if got := w.git("show", "auto/images:a") + w.git("show", "auto/images:b"); got != "32" {
			w.Error(got)
		}
		if got := w.git("diff", "--name-only", "main...auto/images"); got != "a" {
			w.Error(got)
		}
		w.sound()
	})
}

func TestNothingToDo(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.seed(gittest.Commit{Files: map[string]string{"a": "1", "d/b": "1"}})
	b := w.open("")
	for _, d := range []Draft{draft(), draft("a", "1"), draft("a", "1", "d/b", "1")} {
		_, err := b.Commit(t.Context(), d)
		wantError(t, err, ErrUnchanged)
	}
	c, err := Update(t.Context(), Job{Options: w.options(""), Make: func(context.Context, *Branch) (*Draft, error) {
		d := draft("a", "1")
		return &d, nil
	}})
	if c != nil || err != nil {
		t.Errorf("got %v, %v", c, err)
	}
}

func TestReading(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.seed(gittest.Commit{Files: map[string]string{"a": "1", "d/b": "22", "d/e/c": "333", "z": "1"}, Symlinks: map[string]string{"d/l": "b"}})
	h := w.open("").Head()
	for at, want := range map[string][]string{
		"": {"a", "d/b", "d/e/c", "d/l", "z"}, ".": {"a", "d/b", "d/e/c", "d/l", "z"}, "./d/": {"d/b", "d/e/c", "d/l"}, "/d/e": {"d/e/c"}, "a": {"a"}, "../d/e": {"d/e/c"},
	} {
		entries, err := h.List(t.Context(), at)
		w.do(err)
		var got []string
		for _, e := range entries {
			got = append(got, e.Path)
			if e.Regular() != (e.Path != "d/l") {
				t.Errorf("%s is regular: %v", e.Path, e.Regular())
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", at, diff)
		}
	}
	for _, at := range []string{"missing", "a/b", "d/missing"} {
		_, err := h.List(t.Context(), at)
		wantError(t, err, git.ErrNotFound)
	}
	entries, err := h.List(t.Context(), "d/e/c")
	w.do(err)
	if got, err := h.Read(t.Context(), entries[0].Hash, 3); err != nil || string(got) != "333" {
		t.Errorf("%q, %v", got, err)
	}
	_, err = h.Read(t.Context(), entries[0].Hash, 2)
	wantError(t, err, git.ErrTooLarge)
}

// What cannot be a file's path, or is something else, is refused before anything is sent.
func TestPathsThatCannotBe(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.seed(gittest.Commit{Files: map[string]string{"a": "1", "d/b": "1"}, Symlinks: map[string]string{"l": "a"}, Submodules: map[string]string{"m": strings.Repeat("1", 40)}})
	b := w.open("")
	for _, path := range []string{
		"", ".", "..", "../a", "/a", "a/", "d//b", "d/./b", "d/../../a", ".git/config", "d/.GIT/hooks/x", ".git. /x", "git~1/x", `a\b`, "a\x00b", "l", "m", "d", "a/b", "l/x", "m/x",
		strings.Repeat("x/", 100) + "y",
	} {
		_, err := b.Commit(t.Context(), draft(path, "2"))
		wantError(t, err, ErrInvalid)
	}
	_, err := b.Commit(t.Context(), draft("new", "1", "new/below", "1"))
	wantError(t, err, ErrInvalid)
}

// Nothing in a message or a name becomes a header, another line of the commit, or the end of it.
func TestHostileText(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.seed(gittest.Commit{Files: map[string]string{"a": "1"}})
	d := draft("a", "2")
	d.Author = Person{"Eve <root@example.com>\nparent " + strings.Repeat("1", 40) + "\xff", "eve@example.com> 0 +0000\ncommitter x <y"}
	d.Message = "\n\nupdate \x00to v1\xff\n\ntree " + strings.Repeat("2", 40) + "\n"
	_, err := push(t.Context(), w.open(""), d)
	w.do(err)
	w.sound()
	if got := w.git("log", "-1", "--format=%an|%ae|%P"); got != "Eve root@example.comparent "+strings.Repeat("1", 40)+"|eve@example.com 0 +0000committer x y|"+w.git("rev-parse", "main~1") {
		t.Error(got)
	}
	if got := w.git("log", "-1", "--format=%B"); got != "update to v1�\n\ntree "+strings.Repeat("2", 40) {
		t.Errorf("%q", got)
	}
	for name, change := range map[string]func(*Draft){
		"no message": func(d *Draft) { d.Message = " \n\x00" }, "no author": func(d *Draft) { d.Author = Person{"<>", ""} }, "no time": func(d *Draft) { d.When = time.Time{} },
		"long": func(d *Draft) { d.Message = strings.Repeat("x", maxMessage+1) },
	} {
		d := draft("a", "3")
		change(&d)
		if _, err := w.open("").Commit(t.Context(), d); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Servers of large hosts check all that they are sent, as fsck does.
func TestStrictServer(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.seed(gittest.Commit{Files: map[string]string{"a": "1"}})
	w.git("config", "transfer.fsckObjects", "true")
	w.git("config", "transfer.unpackLimit", "1")
	d := draft("x/a", "same", "y/a", "same", "z", "same")
	d.Author = Person{Email: "bot@example.com"}
	c, err := push(t.Context(), w.open(""), d)
	w.do(err)
	w.sound()
	if c.Objects != 4 { // a file, a directory, the root and the commit
		t.Errorf("%d objects", c.Objects)
	}
	if got := w.git("log", "-1", "--format=%an|%ae"); got != "|bot@example.com" {
		t.Error(got)
	}
}

// Old modes, odd names and the order of entries stay as they are.
func TestTreesStayAsTheyAre(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.seed(gittest.Commit{Files: map[string]string{"x": "1", "x-y": "1", "x.y": "1", "x0": "1", "ü\n": "1", "d/a": "1"}})
	raw, err := w.repo.Raw(t.Context(), "tree", w.git("rev-parse", "main^{tree}"))
	w.do(err)
	odd := strings.Replace(string(raw), "100644 x.y", "100664 x.y", 1)
	tree, err := w.repo.Object(t.Context(), "tree", []byte(odd))
	w.do(err)
	commit, err := w.repo.Object(t.Context(), "commit", fmt.Appendf(nil, "tree %s\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\nodd\n", tree))
	w.do(err)
	w.do(w.repo.SetRef(t.Context(), "refs/heads/main", commit))
	_, err = push(t.Context(), w.open(""), draft("x.y", "2", "x/", "2"))
	wantError(t, err, ErrInvalid)
	_, err = push(t.Context(), w.open(""), draft("x.y", "2", "x1/a", "2", "x/a", "2"))
	wantError(t, err, ErrInvalid)
	_, err = push(t.Context(), w.open(""), draft("x.y", "2", "x1/a", "2", "d.", "2", "d0", "2"))
	w.do(err)
	got, err := w.repo.Raw(t.Context(), "tree", w.git("rev-parse", "main^{tree}"))
	w.do(err)
	if !strings.Contains(string(got), "100664 x.y\x00") {
		t.Errorf("the mode was lost: %q", got)
	}
	if got := w.git("diff", "--name-status", "-z", "main~1", "main"); got != strings.Join([]string{"A", "d.", "A", "d0", "M", "x.y", "A", "x1/a", ""}, "\x00") {
		t.Errorf("%q", got)
	}
	if out, err := w.repo.Git(t.Context(), nil, "fsck", "--full"); err != nil {
		t.Error(out, err)
	}
}

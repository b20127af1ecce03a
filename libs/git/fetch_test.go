package git

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/libs/gittest"
)

// noise does not compress, so that sizes on the wire mean something.
func noise(seed uint64, n int) string {
	r := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.IntN(256))
	}
	return string(b)
}

func (w *world) received() (requests int, bytes int64) {
	for _, r := range w.server.Requests() {
		requests++
		bytes += r.ResponseBytes
	}
	return requests, bytes
}

// Each fetch has to be right whatever happened on the server since, and must
// bring only what is new.
func TestIncrementalFetch(t *testing.T) {
	protocols(t, func(t *testing.T, w *world) {
		main := Ref{Branch: "main"}
		big := noise(1, 300_000)
		base := w.write("big", big, "a", "1", "dir/b", "1")
		check := func(step string, maxBytes int64, want map[string]string) {
			t.Helper()
			w.server.ResetRequests()
			got := w.files(w.fetch(main), Selection{})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %s", step, diff)
			}
			if requests, bytes := w.received(); !w.ssh && bytes > maxBytes {
				t.Errorf("%s: %d requests brought %d bytes", step, requests, bytes)
			}
		}
		check("first", 400_000, map[string]string{"big": big, "a": "1", "dir/b": "1"})

		w.write("a", "2")
		check("one commit", 3_000, map[string]string{"big": big, "a": "2", "dir/b": "1"})

		for i := range 30 {
			w.write("a", fmt.Sprint("many ", i))
		}
		check("many commits", 3_000, map[string]string{"big": big, "a": "many 29", "dir/b": "1"})

		w.commit(gittest.Commit{Parent: base, Files: map[string]string{"dir/b": "forced"}})
		check("forced back and off", 3_000, map[string]string{"big": big, "a": "1", "dir/b": "forced"})

		w.commit(gittest.Commit{Orphan: true, Files: map[string]string{"big": big, "a": "orphan"}})
		check("unrelated history, same content", 3_000, map[string]string{"big": big, "a": "orphan"})

		w.do(w.repo.SetRef(t.Context(), "refs/heads/main", base))
		check("back to the first", 3_000, map[string]string{"big": big, "a": "1", "dir/b": "1"})

		// Everything that was fetched before goes away on the server.
		w.commit(gittest.Commit{Orphan: true, Files: map[string]string{"a": "new world", "big": noise(2, 300_000)}})
		for _, command := range [][]string{{"reflog", "expire", "--expire=now", "--all"}, {"gc", "--quiet", "--prune=now"}} {
			if _, err := w.repo.Git(t.Context(), nil, command...); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.repo.Resolve(t.Context(), base+"^{commit}"); err == nil {
			t.Fatal("the old commits are still there")
		}
		check("the old tips are gone", 400_000, map[string]string{"a": "new world", "big": noise(2, 300_000)})
		w.write("a", "newer")
		check("one more", 3_000, map[string]string{"a": "newer", "big": noise(2, 300_000)})
	})
}

func TestBranchDeletedAndBack(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	hash := w.write("a", "1")
	w.fetch(Ref{Branch: "main"})
	w.do(w.repo.DeleteRef(t.Context(), "refs/heads/main"))
	w.do(w.repo.SetRef(t.Context(), "refs/heads/other", hash))
	_, err := w.mirrors.Resolve(t.Context(), w.source(Ref{Branch: "main"}))
	wantError(t, err, ErrNotFound, "refs/heads/main")
	w.do(w.repo.SetRef(t.Context(), "refs/heads/main", hash))
	w.fetch(Ref{Branch: "main"})
}

// The hot path: one request to resolve and one to fetch, nothing when nothing changed.
func TestRequests(t *testing.T) {
	for name, test := range map[string]struct {
		v0                        bool
		first, unchanged, changed int
	}{
		"v2": {false, 3, 1, 2},
		"v0": {true, 2, 1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, gittest.Options{ProtocolV0: test.v0})
			count := func(want int) {
				t.Helper()
				w.server.ResetRequests()
				w.fetch(Ref{Branch: "main"})
				if got, _ := w.received(); got != want {
					t.Errorf("%d requests, want %d: %+v", got, want, w.server.Requests())
				}
			}
			w.write("a", "1")
			count(test.first)
			count(test.unchanged)
			w.write("a", "2")
			count(test.changed)
		})
	}
}

func TestSSHUsesOneConnection(t *testing.T) {
	w := newWorld(t, gittest.Options{SSH: true})
	w.write("a", "1")
	w.files(w.fetch(Ref{Branch: "main"}), Selection{})
	if n := w.server.SSHConnections(); n != 1 {
		t.Fatalf("%d connections", n)
	}
}

// With protocol 2 the server sends only the refs in question.
func TestManyRefs(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	hash := w.write("a", "1")
	var script strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&script, "create refs/pull/%d/head %s\n", i, hash)
	}
	if _, err := w.repo.Git(t.Context(), []byte(script.String()), "update-ref", "--stdin"); err != nil {
		t.Fatal(err)
	}
	w.fetch(Ref{Branch: "main"})
	w.server.ResetRequests()
	w.fetch(Ref{Branch: "main"})
	if _, bytes := w.received(); bytes > 500 {
		t.Fatalf("a poll takes %d bytes", bytes)
	}
}

// A server that has forgotten what was learned of it is asked afresh.
func TestServerChangesItsProtocol(t *testing.T) {
	root, dir := t.TempDir(), t.TempDir()
	mirrors := must2(t)(NewMirrors(Options{Dir: dir}))
	v2, err := gittest.NewServer(root, gittest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	repo, err := v2.CreateRepository(t.Context(), "app")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Commit(t.Context(), gittest.Commit{Files: map[string]string{"a": "1"}}); err != nil {
		t.Fatal(err)
	}
	src := Source{URL: v2.URL("app"), Ref: Ref{Branch: "main"}}
	address := strings.TrimPrefix(strings.TrimSuffix(src.URL, "/app.git"), "http://")
	resolve := func() {
		t.Helper()
		r, err := mirrors.Resolve(t.Context(), src)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Fetch(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
	}
	resolve()
	if err := v2.Close(); err != nil {
		t.Fatal(err)
	}
	v0, err := gittest.NewServer(root, gittest.Options{ProtocolV0: true, HTTPAddr: address})
	if err != nil {
		t.Fatal(err)
	}
	defer v0.Close()
	if _, err := repo.Commit(t.Context(), gittest.Commit{Files: map[string]string{"a": "2"}}); err != nil {
		t.Fatal(err)
	}
	resolve()
}

func must2(t *testing.T) func(*Mirrors, error) *Mirrors {
	return func(m *Mirrors, err error) *Mirrors {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = m.Close() })
		return m
	}
}

func TestParallelFetches(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	other, err := w.server.CreateRepository(t.Context(), "other")
	w.do(err)
	_, err = other.Commit(t.Context(), gittest.Commit{Files: map[string]string{"a": "other"}})
	w.do(err)
	w.write("a", "1", "big", noise(3, 200_000))
	for i := range 5 {
		w.commit(gittest.Commit{Branch: fmt.Sprint("b", i), Parent: "refs/heads/main", Files: map[string]string{"a": fmt.Sprint("b", i)}})
	}
	var group sync.WaitGroup
	for i := range 30 {
		group.Go(func() {
			src, want := w.source(Ref{Branch: fmt.Sprint("b", i%5)}), fmt.Sprint("b", i%5)
			if i%6 == 5 {
				src.URL, src.Ref.Branch, want = strings.Replace(src.URL, "/app", "/other", 1), "main", "other"
			}
			files, err := w.tryFiles(t.Context(), src, Selection{})
			if err != nil || files["a"] != want {
				t.Errorf("%q, %v", files["a"], err)
			}
		})
	}
	group.Wait()
}

// A mirror that is damaged, in whatever way, costs a fetch and nothing else.
func TestDamagedMirrors(t *testing.T) {
	packs := func(w *world, pattern string) []string {
		names, err := filepath.Glob(filepath.Join(w.dir, "*", packDir, pattern))
		w.do(err)
		return names
	}
	overwrite := func(w *world, names []string, change func([]byte) []byte) {
		for _, name := range names {
			content, err := os.ReadFile(name)
			w.do(err)
			w.do(os.WriteFile(name, change(content), 0o600))
		}
	}
	half := func(b []byte) []byte { return b[:len(b)/2] }
	for name, damage := range map[string]func(w *world){
		"gone":         func(w *world) { w.do(os.RemoveAll(w.dir)) },
		"objects gone": func(w *world) { w.do(os.RemoveAll(filepath.Dir(packs(w, "*.pack")[0]))) },
		"tips gone":    func(w *world) { w.do(os.RemoveAll(filepath.Join(filepath.Dir(packs(w, "*.pack")[0]), "../../tips"))) },
		"packs gone": func(w *world) {
			for _, p := range packs(w, "*.pack") {
				w.do(os.Remove(p))
			}
		},
		"one pack gone": func(w *world) { w.do(os.Remove(packs(w, "*.pack")[0])) },
		"indexes gone": func(w *world) {
			for _, p := range packs(w, "*.idx") {
				w.do(os.Remove(p))
			}
		},
		"packs cut":   func(w *world) { overwrite(w, packs(w, "*.pack"), half) },
		"packs empty": func(w *world) { overwrite(w, packs(w, "*.pack"), func([]byte) []byte { return nil }) },
		"indexes cut": func(w *world) { overwrite(w, packs(w, "*.idx"), half) },
		"temporary files": func(w *world) {
			w.do(os.WriteFile(filepath.Join(filepath.Dir(packs(w, "*.pack")[0]), "tmp_123"), []byte("x"), 0o600))
		},
		"stray pack": func(w *world) {
			w.do(os.WriteFile(filepath.Join(filepath.Dir(packs(w, "*.pack")[0]), "pack-"+strings.Repeat("ab", 20)+".pack"), []byte("PACK"), 0o600))
		},
		"bytes flipped": func(w *world) {
			overwrite(w, packs(w, "*.pack"), func(b []byte) []byte {
				for i := 30; i < len(b); i += 50 {
					b[i] ^= 0x20
				}
				return b
			})
		},
		"index lies": func(w *world) {
			p := packs(w, "*.idx")
			first, err := os.ReadFile(p[0])
			w.do(err)
			overwrite(w, p, func([]byte) []byte { return first })
		},
		"file in the way": func(w *world) {
			w.do(os.RemoveAll(packs(w, "..")[0]))
			w.do(os.WriteFile(packs(w, "../../tips")[0]+"/../objects", nil, 0o600))
		},
	} {
		for _, changed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, changed %v", name, changed), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, gittest.Options{})
				if changed { // contents in memory must not make it worse
					w.mirrors = w.openCached(Limits{}, 1<<20)
				}
				w.write("a", "1", "big", noise(4, 50_000))
				w.fetch(Ref{Branch: "main"})
				w.write("a", "2")
				w.files(w.fetch(Ref{Branch: "main"}), Selection{})
				want := "2"
				if changed {
					w.write("a", "3")
					want = "3"
				}
				func() {
					defer func() {
						if r := recover(); r != nil {
							t.Fatalf("cannot damage: %v", r)
						}
					}()
					damage(w)
				}()
				got := w.files(w.fetch(Ref{Branch: "main"}), Selection{})
				if got["a"] != want || got["big"] != noise(4, 50_000) {
					t.Fatalf("a is %q", got["a"])
				}
				left, err := filepath.Glob(filepath.Join(w.dir, "*", packDir, "tmp_*"))
				if w.do(err); changed && len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			})
		}
	}
}

// The mirror may vanish between fetching and reading.
func TestMirrorVanishesUnderASnapshot(t *testing.T) {
	for name, o := range map[string]gittest.Options{"http": {}, "ssh v2": {SSH: true}, "ssh v0": {SSH: true, ProtocolV0: true}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, o)
			w.write("a", "1")
			first, second := w.fetch(Ref{Branch: "main"}), w.fetch(Ref{Branch: "main"})
			w.do(os.RemoveAll(w.dir))
			for _, s := range []*Snapshot{first, second} {
				if got := w.files(s, Selection{}); got["a"] != "1" {
					t.Fatalf("got %v", got)
				}
			}
		})
	}
}

// A server that leaves objects out must not get a loop going.
func TestIncompletePack(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.write("a", "1")
	blob := must3(t)(w.repo.Resolve(t.Context(), "refs/heads/main:a"))
	tree := must3(t)(w.repo.Git(t.Context(), fmt.Appendf(nil, "100644 blob %s\ta\n100644 blob %s\tmissing\n", blob, strings.Repeat("ab", 20)), "mktree", "--missing"))
	hash := must3(t)(w.repo.Git(t.Context(), nil, "commit-tree", tree, "-m", "incomplete"))
	w.do(w.repo.SetRef(t.Context(), "refs/heads/main", hash))
	_, err := w.tryFiles(t.Context(), w.source(Ref{Branch: "main"}), Selection{})
	if err == nil {
		t.Fatal("read what is not there")
	}
}

func must3(t *testing.T) func(string, error) string {
	return func(s string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func TestWornMirrorsAreFetchedAfresh(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.mirrors = w.open(Limits{Packs: 4})
	for i := range 11 {
		w.write("a", fmt.Sprint(i), fmt.Sprint("file", i), "x")
		if got := w.files(w.fetch(Ref{Branch: "main"}), Selection{}); got["a"] != fmt.Sprint(i) || len(got) != i+2 {
			t.Fatalf("at %d: %v", i, got)
		}
		packs, err := filepath.Glob(filepath.Join(w.dir, "*", packDir, "*.pack"))
		if w.do(err); len(packs) > 4 {
			t.Fatalf("%d packs", len(packs))
		}
	}
}

func TestExpire(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.write("a", "1")
	r := w.resolve(Ref{Branch: "main"})
	if _, err := r.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	count := func() int {
		entries, err := os.ReadDir(w.dir)
		w.do(err)
		return len(entries)
	}
	w.do(w.mirrors.Expire(t.Context(), -1))
	if count() != 1 {
		t.Fatal("a mirror in use was removed")
	}
	second := w.source(Ref{Branch: "main"})
	second.CredentialID = "team/secret"
	if _, err := w.tryFiles(t.Context(), second, Selection{}); err != nil {
		t.Fatal(err)
	}
	if count() != 2 {
		t.Fatal("two credentials share a mirror")
	}
	w.do(w.mirrors.Expire(t.Context(), 1<<40))
	if count() != 2 {
		t.Fatal("a mirror that is not old was removed")
	}
	w.do(w.mirrors.Expire(t.Context(), -1))
	if count() != 1 {
		t.Fatal("the unused mirror is still there")
	}
}

// TestTidy: a mirror that is not used goes by itself.
func TestTidy(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.write("a", "1")
	if _, err := w.tryFiles(t.Context(), w.source(Ref{Branch: "main"}), Selection{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); w.mirrors.Tidy(ctx, 50*time.Millisecond) }()
	for {
		entries, err := os.ReadDir(w.dir)
		w.do(err)
		if len(entries) == 0 {
			break
		}
		if t.Context().Err() != nil {
			t.Fatal("the mirror is still there")
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-ended
}

func TestShrink(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.write("a", strings.Repeat("1", 1000))
	keys := func() (keys []string) {
		entries, err := os.ReadDir(w.dir)
		w.do(err)
		for _, entry := range entries {
			keys = append(keys, entry.Name())
		}
		return keys
	}
	var order []string // of their last use
	for _, credential := range []string{"team/one", "team/two", "team/three", "team/one"} {
		source := w.source(Ref{Branch: "main"})
		source.CredentialID = credential
		if _, err := w.tryFiles(t.Context(), source, Selection{}); err != nil {
			t.Fatal(err)
		}
		key := source.mirrorKey()
		order = append(slices.DeleteFunc(order, func(k string) bool { return k == key }), key)
	}
	_, total, err := w.mirrors.measure(t.Context())
	w.do(err)
	w.do(w.mirrors.Shrink(t.Context(), total))
	if len(keys()) != 3 {
		t.Fatal("a mirror was removed where there is room for all")
	}
	w.do(w.mirrors.Shrink(t.Context(), total-1))
	if got := keys(); len(got) != 2 || slices.Contains(got, order[0]) {
		t.Fatalf("%v are left, want all but %s, which was not used for the longest", got, order[0])
	}
	used := w.source(Ref{Branch: "main"})
	used.CredentialID = "team/three"
	r, err := w.mirrors.Resolve(t.Context(), used)
	w.do(err)
	w.do(w.mirrors.Shrink(t.Context(), 0))
	if got := keys(); len(got) != 1 || got[0] != used.mirrorKey() {
		t.Fatalf("%v are left, want the one in use", got)
	}
	w.do(r.Close())
	w.do(w.mirrors.Shrink(t.Context(), 0))
	if got := keys(); len(got) != 0 {
		t.Fatalf("%v are left", got)
	}
}

func TestCommitsOfOldServers(t *testing.T) {
	w := newWorld(t, gittest.Options{ProtocolV0: true})
	first := w.write("a", "1")
	w.write("a", "2")
	stray := w.commit(gittest.Commit{Branch: "gone", Files: map[string]string{"a": "stray"}})
	w.do(w.repo.DeleteRef(t.Context(), "refs/heads/gone"))
	if got := w.files(w.fetch(Ref{Commit: first, Branch: "main"}), Selection{}); got["a"] != "1" {
		t.Fatalf("got %v", got)
	}
	_, err := w.resolve(Ref{Commit: stray, Branch: "main"}).Fetch(t.Context())
	wantError(t, err, ErrNotFound, stray)
	if _, err := w.repo.Git(t.Context(), nil, "config", "uploadpack.allowAnySHA1InWant", "true"); err != nil {
		t.Fatal(err)
	}
	if got := w.files(w.fetch(Ref{Commit: stray}), Selection{}); got["a"] != "stray" {
		t.Fatalf("got %v", got)
	}
}

func TestTagIsMoved(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	first := w.write("a", "1")
	second := w.write("a", "2")
	w.do(w.repo.Tag(t.Context(), "v1.0.0", first))
	w.fetch(Ref{Tag: "v1.0.0"})
	w.do(w.repo.AnnotatedTag(t.Context(), "v1.0.0", first, "signed off"))
	s := w.fetch(Ref{Tag: "v1.0.0"})
	if !strings.Contains(string(s.Commit.RawTag), "signed off") || s.Commit.Hash != first {
		t.Fatalf("tag %q of %s", s.Commit.RawTag, s.Commit.Hash)
	}
	w.do(w.repo.AnnotatedTag(t.Context(), "v1.0.0", second, "again"))
	if s := w.fetch(Ref{Tag: "v1.0.0"}); s.Commit.Hash != second {
		t.Fatalf("still %s", s.Commit.Hash)
	}
}

func TestCommitSaysWhoAndWhat(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.commit(gittest.Commit{Author: "Zoë <zoe@example.com>", Message: "raise the limits\n\nBecause.\n", Files: map[string]string{"a": "1"}})
	c := w.fetch(Ref{Branch: "main"}).Commit
	if c.Author.Name != "Zoë" || c.Author.Email != "zoe@example.com" || c.Author.When.IsZero() || c.Subject != "raise the limits" || !strings.Contains(c.Message, "Because.") {
		t.Fatalf("got %+v", c)
	}
	if hashOf(1, c.Raw) != c.Hash {
		t.Error("Raw is not the commit object")
	}
}

func TestParseCommitIsStrict(t *testing.T) {
	tree := "tree " + strings.Repeat("ab", 20) + "\n"
	people := "author A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n"
	for name, raw := range map[string]string{
		"empty": "", "no tree": people, "two trees": tree + tree + people + "\nx", "short tree": "tree abc\n" + people,
		"no author": tree + "committer A <a@b> 1 +0000\n\nx", "late tree": people + tree, "two authors": tree + "author A <a@b> 1 +0000\n" + people,
	} {
		if _, err := parseCommit(strings.Repeat("0", 40), []byte(raw)); !errors.Is(err, ErrInvalidTree) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, raw := range map[string]string{"plain": tree + people + "\nx", "signed": tree + people + "gpgsig x\n y\n\nx", "no message": tree + people, "merge": tree + "parent " + strings.Repeat("ab", 20) + "\nparent " + strings.Repeat("cd", 20) + "\n" + people} {
		if _, err := parseCommit(strings.Repeat("0", 40), []byte(raw)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestChangedPaths(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	first := w.write("a", "1", "same/deep/x", "1", "dir/b", "1", "dir/c", "1", "gone/d", "1", "turns", "1")
	before := w.fetch(Ref{Branch: "main"})
	w.commit(gittest.Commit{
		Files:  map[string]string{"a": "2", "dir/c": "2", "new/e/f": "1", "turns/into": "a directory", "dir/b": "1"},
		Delete: []string{"gone", "turns"}, Executable: []string{"dir/b"},
	})
	s := w.fetch(Ref{Branch: "main"})
	want := []string{"a", "dir/b", "dir/c", "gone/d", "new/e/f", "turns", "turns/into"}
	for _, previous := range []string{first, "main@sha1:" + first, before.Revision.String()} {
		paths, known, err := s.ChangedPaths(t.Context(), previous, 100)
		if diff := cmp.Diff(want, paths); err != nil || !known || diff != "" {
			t.Fatalf("%s: known %v, %v: %s", previous, known, err, diff)
		}
	}
	if paths, known, err := s.ChangedPaths(t.Context(), s.Revision.String(), 100); err != nil || !known || len(paths) > 0 {
		t.Fatalf("to itself: %v, %v, %v", paths, known, err)
	}
	for _, previous := range []string{"", "main", "main@sha1:" + strings.Repeat("ab", 20), "../../etc/passwd"} {
		if paths, known, err := s.ChangedPaths(t.Context(), previous, 100); err != nil || known || paths != nil {
			t.Fatalf("%q: %v, %v, %v", previous, paths, known, err)
		}
	}
	if _, known, err := s.ChangedPaths(t.Context(), first, 3); err != nil || known {
		t.Fatalf("over the cap: %v, %v", known, err)
	}
	if !slices.IsSorted(want) {
		t.Fatal("the test is wrong")
	}
}

package git

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/libs/gittest"
)

func modules(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&b, "[submodule %q]\n\tpath = %s\n\turl = %s\n", pairs[i], pairs[i], pairs[i+1])
	}
	return b.String()
}

// library makes another repository with one commit.
func (w *world) library(s *gittest.Server, name string, c gittest.Commit) string {
	w.Helper()
	r, err := s.CreateRepository(w.Context(), name)
	w.do(err)
	hash, err := r.Commit(w.Context(), c)
	w.do(err)
	return hash
}

var main = Ref{Branch: "main"}

func TestSubmodules(t *testing.T) {
	for name, o := range map[string]gittest.Options{"password": {Username: "jane", Password: "x"}, "ssh": {SSH: true}, "v0": {ProtocolV0: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, o)
			w.auth.Username = o.Username
			if !o.SSH {
				w.auth.Password = o.Password
			}
			leaf := w.library(w.server, "team/leaf", gittest.Commit{Files: map[string]string{"leaf.yaml": "leaf"}})
			lib := w.library(w.server, "team/lib", gittest.Commit{
				Files:      map[string]string{"lib.yaml": "lib", "secret.txt": "x", ".sourceignore": "*.txt", ".gitmodules": modules("deep/leaf", "../leaf.git")},
				Submodules: map[string]string{"deep/leaf": leaf},
			})
			w.commit(gittest.Commit{
				Files: map[string]string{"own.yaml": "own", "own.txt": "stays", ".gitmodules": modules(
					"vendor/lib", "./../team/lib.git", "absolute", w.source(main).URL[:strings.LastIndex(w.source(main).URL, "/")]+"/team/leaf.git", "elsewhere", "https://git.example.com/x.git")},
				Submodules: map[string]string{"vendor/lib": lib, "absolute": leaf, "unnamed": leaf},
			})
			want := map[string]string{
				"own.yaml": "own", "own.txt": "stays", "absolute/leaf.yaml": "leaf",
				"vendor/lib/lib.yaml": "lib", "vendor/lib/.sourceignore": "*.txt", "vendor/lib/deep/leaf/leaf.yaml": "leaf",
			}
			for range 2 { // the second time from the mirrors
				got, err := w.tryFiles(t.Context(), w.source(main), Selection{Submodules: true})
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatal(diff)
				}
			}
			got, err := w.tryFiles(t.Context(), w.source(main), Selection{Submodules: true, Sparse: []string{"vendor/lib/deep"}})
			if diff := cmp.Diff(map[string]string{"vendor/lib/deep/leaf/leaf.yaml": "leaf"}, got); diff != "" || err != nil {
				t.Fatal(diff, err)
			}
			if got, err = w.tryFiles(t.Context(), w.source(main), Selection{}); err != nil || len(got) != 2 {
				t.Fatalf("without submodules: %v, %v", got, err)
			}
		})
	}
}

// What a repository says about where its submodules are is not believed.
func TestHostileSubmodules(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	hash := w.library(w.server, "lib", gittest.Commit{Files: map[string]string{"a": "1"}})
	for name, address := range map[string]string{
		"another host": "https://git.example.com/lib.git", "link-local": "http://169.254.169.254/lib.git", "loopback by name": "http://localhost/lib.git",
		"another port": "http://127.0.0.1:1/lib.git", "a file": "file:///etc", "a path": "/etc", "a program": "ext::sh -c id", "git's own": "git://127.0.0.1/lib.git",
		"an option": "-u./payload", "an option as host": "ssh://-oProxyCommand=id/lib", "an option in short form": "-oProxyCommand=id:lib", "out of the host": "../../../lib.git",
		"a password": strings.Replace(w.server.URL("lib"), "://", "://jane:x@", 1), "nothing": "", "a line more": "\"http://a/b\\nc\"", "ssh of the same host": "ssh://git@127.0.0.1/lib.git",
	} {
		t.Run(name, func(t *testing.T) {
			w.commit(gittest.Commit{Files: map[string]string{".gitmodules": modules("lib", address)}, Submodules: map[string]string{"lib": hash}})
			w.server.ResetRequests()
			_, err := w.tryFiles(t.Context(), w.source(main), Selection{Submodules: true})
			if name == "nothing" && err == nil { // git leaves it out
				return
			}
			wantError(t, err, ErrSubmodule)
			if Stalled(err) {
				t.Error("stalled, although the next commit may be good")
			}
		})
	}
	for name, c := range map[string]gittest.Commit{
		"path out of the tree": {Files: map[string]string{".gitmodules": modules("../../lib", "./lib.git")}, Submodules: map[string]string{"lib": hash}},
		"path into .git":       {Files: map[string]string{".gitmodules": modules(".git/modules/lib", "./lib.git")}, Submodules: map[string]string{"lib": hash}},
		"list behind a link":   {Files: map[string]string{"m": modules("lib", "../lib.git")}, Symlinks: map[string]string{".gitmodules": "m"}, Submodules: map[string]string{"lib": hash}},
		"list for a directory": {Files: map[string]string{"lib/a": "own", ".gitmodules": modules("lib", "../lib.git")}, Delete: []string{"lib"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.Orphan = true
			w.commit(c)
			got, err := w.tryFiles(t.Context(), w.source(main), Selection{Submodules: true})
			if err != nil || got["lib/a"] == "1" {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	w.commit(gittest.Commit{Orphan: true, Files: map[string]string{".gitmodules": "[submodule\n"}, Submodules: map[string]string{"lib": hash}})
	if _, err := w.tryFiles(t.Context(), w.source(main), Selection{Submodules: true}); err == nil || !strings.Contains(err.Error(), "malformed") {
		t.Error(err)
	}
	w.commit(gittest.Commit{Files: map[string]string{".gitmodules": modules("lib", "../gone.git")}, Submodules: map[string]string{"lib": hash}})
	_, err := w.tryFiles(t.Context(), w.source(main), Selection{Submodules: true})
	wantError(t, err, ErrNotFound, `submodule "lib"`)
}

// Credentials stay with the host they are for.
func TestSubmodulesOfOtherHosts(t *testing.T) {
	w := newWorld(t, gittest.Options{Username: "jane", Password: "x"})
	w.auth = Auth{Username: "jane", Password: "x"}
	foreign, err := gittest.NewServer(t.TempDir(), gittest.Options{})
	w.do(err)
	defer foreign.Close()
	hash := w.library(foreign, "lib", gittest.Commit{Files: map[string]string{"a": "1"}})
	w.commit(gittest.Commit{Files: map[string]string{".gitmodules": modules("lib", foreign.URL("lib"))}, Submodules: map[string]string{"lib": hash}})
	_, err = w.tryFiles(t.Context(), w.source(main), Selection{Submodules: true})
	wantError(t, err, ErrSubmodule, "not allowed")
	if n := len(foreign.Requests()); n > 0 {
		t.Fatalf("%d requests to a host that is not allowed", n)
	}
	w.mirrors = mirrorsFor(w, "127.0.0.1")
	got, err := w.tryFiles(t.Context(), w.source(main), Selection{Submodules: true})
	if err != nil || got["lib/a"] != "1" {
		t.Fatalf("%v, %v", got, err)
	}
	for _, r := range foreign.Requests() {
		if r.Authorization != "" {
			t.Fatal("the other host was shown the password")
		}
	}
}

func mirrorsFor(w *world, hosts ...string) *Mirrors {
	w.Helper()
	m, err := NewMirrors(Options{Dir: w.T.TempDir(), SubmoduleHosts: hosts})
	w.do(err)
	return m
}

// A chain of repositories that goes on for ever, and more of them than anybody
// needs, cost little.
func TestSubmoduleBombs(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	last := w.library(w.server, "n0", gittest.Commit{Files: map[string]string{"a": "1"}})
	for i := 1; i <= maxSubmoduleDepth+1; i++ {
		last = w.library(w.server, fmt.Sprintf("n%d", i), gittest.Commit{
			Files: map[string]string{".gitmodules": modules("x", fmt.Sprintf("../n%d.git", i-1))}, Submodules: map[string]string{"x": last},
		})
	}
	w.commit(gittest.Commit{Files: map[string]string{".gitmodules": modules("x", fmt.Sprintf("../n%d.git", maxSubmoduleDepth+1))}, Submodules: map[string]string{"x": last}})
	_, err := w.tryFiles(t.Context(), w.source(main), Selection{Submodules: true})
	wantError(t, err, ErrSubmodule, "deep")

	hash := w.library(w.server, "lib", gittest.Commit{Files: map[string]string{"a": "1"}})
	links, pairs := map[string]string{}, []string{}
	for i := range maxSubmodules + 1 {
		links[fmt.Sprint("m", i)] = hash
		pairs = append(pairs, fmt.Sprint("m", i), "../lib.git")
	}
	w.commit(gittest.Commit{Orphan: true, Files: map[string]string{".gitmodules": modules(pairs...)}, Submodules: links})
	_, err = w.tryFiles(t.Context(), w.source(main), Selection{Submodules: true})
	wantError(t, err, ErrSubmodule, "more than")

	// Entries are counted over all repositories together.
	w.mirrors = w.open(Limits{Entries: 20})
	_, err = w.tryFiles(t.Context(), w.source(main), Selection{Submodules: true})
	if !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
}

func TestSubmoduleURL(t *testing.T) {
	of, err := url.Parse("ssh://git@git.example.com/team/app.git")
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"../lib.git": "ssh://git@git.example.com/team/lib.git", "./../lib": "ssh://git@git.example.com/team/lib", "./sub": "ssh://git@git.example.com/team/app.git/sub",
		"../../lib": "ssh://git@git.example.com/lib", "../../../lib": "", "git@github.com:org/x.git": "ssh://git@github.com/org/x.git",
		"https://github.com/org/x": "https://github.com/org/x", "..": "",
	} {
		u, err := submoduleURL(of, address)
		if got := fmt.Sprint(u); (want == "") != (err != nil) || want != "" && got != want {
			t.Errorf("%s becomes %s, %v", address, got, err)
		}
	}
}

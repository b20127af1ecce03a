package gittest

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func start(t *testing.T, o Options) (*Server, *Repository) {
	t.Helper()
	s, err := NewServer(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	r, err := s.CreateRepository(t.Context(), "team/app")
	if err != nil {
		t.Fatal(err)
	}
	return s, r
}

// git runs the program as a user would, in dir.
func git(t *testing.T, dir string, extra []string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir, cmd.Env = dir, append(environment(), extra...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func commit(t *testing.T, r *Repository, c Commit) string {
	t.Helper()
	hash, err := r.Commit(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// The servers serve git itself, to read and to write, with large packs too.
func TestCloneAndPush(t *testing.T) {
	for name, o := range map[string]Options{
		"http": {}, "v0": {ProtocolV0: true}, "password": {Username: "jane", Password: "x"}, "tls": {TLS: true}, "ssh": {SSH: true}, "ssh v0": {SSH: true, ProtocolV0: true},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath("ssh"); o.SSH && err != nil {
				t.Skip("no ssh program here")
			}
			s, r := start(t, o)
			commit(t, r, Commit{Files: map[string]string{"a.yaml": "1"}})
			dir, url, env := t.TempDir(), s.URL("team/app"), []string(nil)
			if o.Password != "" {
				url = strings.Replace(url, "://", "://jane:x@", 1)
			}
			if o.TLS {
				env = append(env, "GIT_SSL_CAINFO="+file(t, s.CA()))
			}
			if o.SSH {
				url = s.SSHURL("team/app")
				env = append(env, "GIT_SSH_COMMAND=ssh -F none -o IdentitiesOnly=yes -o UserKnownHostsFile="+file(t, s.KnownHosts())+" -i "+file(t, s.ClientKey()))
			}
			work := filepath.Join(dir, "work")
			steps := [][]string{
				{"clone", "--quiet", url, work},
				{"-C", work, "add", "."},
				{"-C", work, "commit", "--quiet", "--message", "big"},
				{"-C", work, "push", "--quiet", "origin", "main"},
			}
			for i, step := range steps {
				if i == 1 {
					if err := os.WriteFile(filepath.Join(work, "big"), noise(2<<20), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				if out, err := git(t, dir, env, step...); err != nil {
					t.Fatalf("%v: %v: %s", step, err, out)
				}
			}
			if out, err := r.Git(t.Context(), nil, "log", "--format=%s %an", "main"); err != nil || !strings.HasPrefix(out, "big Jane Doe\n") {
				t.Fatalf("%q, %v", out, err)
			}
		})
	}
}

func file(t *testing.T, content []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func noise(n int) []byte {
	b, x := make([]byte, n), uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func TestCommits(t *testing.T) {
	_, r := start(t, Options{})
	ctx := t.Context()
	first := commit(t, r, Commit{Message: "one\n\nbody", Files: map[string]string{"a": "1", "d/b": "1", `od"d \n` + "ü": "x"}, Executable: []string{"d/b"}, Symlinks: map[string]string{"l": "a"}})
	commit(t, r, Commit{Files: map[string]string{"a": "2"}, Delete: []string{"d"}})
	if out, _ := r.Git(ctx, nil, "-c", "core.quotePath=off", "ls-tree", "-r", "--format=%(objectmode) %(path)", "main"); out != "100644 a\n120000 l\n100644 "+`"od\"d \\nü"` {
		t.Errorf("got %s", out)
	}
	if parent, _ := r.Resolve(ctx, "main~1"); parent != first {
		t.Errorf("the second commit stands on %s", parent)
	}
	commit(t, r, Commit{Orphan: true, Files: map[string]string{"new": "1"}})
	if _, err := r.Resolve(ctx, "main~1"); err == nil {
		t.Error("an orphan has a parent")
	}
	back := commit(t, r, Commit{Parent: first, Files: map[string]string{"new": "2"}})
	if parent, _ := r.Resolve(ctx, "main~1"); parent != first || back == first {
		t.Errorf("forced onto %s", parent)
	}
	if err := r.Tag(ctx, "v1", first); err != nil {
		t.Fatal(err)
	}
	if err := r.AnnotatedTag(ctx, "v2", first, "two"); err != nil {
		t.Fatal(err)
	}
	if v2, _ := r.Resolve(ctx, "v2^{commit}"); v2 != first {
		t.Errorf("v2 is %s", v2)
	}
	if err := r.DeleteRef(ctx, "refs/heads/main"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Resolve(ctx, "refs/heads/main"); err == nil {
		t.Error("main is still there")
	}
}

func TestRefusals(t *testing.T) {
	s, r := start(t, Options{Username: "jane", Password: "x", SSH: true})
	commit(t, r, Commit{Files: map[string]string{"a": "1"}})
	if out, err := git(t, t.TempDir(), nil, "ls-remote", s.URL("team/app")); err == nil {
		t.Errorf("let in without a password: %s", out)
	}
	if _, err := s.CreateRepository(t.Context(), "../outside"); err == nil {
		t.Error("made a repository outside")
	}
	if _, err := NewServer(filepath.Join(t.TempDir(), "missing"), Options{}); err == nil {
		t.Error("served what is not there")
	}
	ssh := []string{"GIT_SSH_COMMAND=ssh -F none -o IdentitiesOnly=yes -o UserKnownHostsFile=" + file(t, s.KnownHosts()) + " -i " + file(t, s.ClientKey())}
	if out, err := git(t, t.TempDir(), ssh, "ls-remote", s.SSHURL("../../x")); err == nil {
		t.Errorf("left the root: %s", out)
	}
}

func TestHookAndRequests(t *testing.T) {
	s, r := start(t, Options{})
	commit(t, r, Commit{Files: map[string]string{"a": "1"}})
	s.SetHook(func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "on purpose", http.StatusInternalServerError)
		return true
	})
	if _, err := git(t, t.TempDir(), nil, "ls-remote", s.URL("team/app")); err == nil {
		t.Error("the hook did not answer")
	}
	s.SetHook(nil)
	s.ResetRequests()
	if out, err := git(t, t.TempDir(), nil, "ls-remote", s.URL("team/app")); err != nil {
		t.Fatal(out)
	}
	got := s.Requests()
	if len(got) != 2 || got[0].Method != http.MethodGet || got[0].Path != "/team/app.git/info/refs" || got[0].ResponseBytes == 0 {
		t.Errorf("got %+v", got)
	}
}

func TestCloseCutsWhatIsOpen(t *testing.T) {
	s, _ := start(t, Options{SSH: true})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if response, err := http.DefaultClient.Do(request); err == nil {
		response.Body.Close()
		t.Error("still serving")
	}
}

// TestFaults holds each fault against the git program.
func TestFaults(t *testing.T) {
	s, r := start(t, Options{})
	first := commit(t, r, Commit{Files: map[string]string{"a": "1"}})
	second := commit(t, r, Commit{Files: map[string]string{"a": "2"}})
	head := func() string {
		t.Helper()
		out, err := git(t, t.TempDir(), nil, "ls-remote", s.URL("team/app"), "refs/heads/main")
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		hash, _, _ := strings.Cut(out, "\t")
		return hash
	}
	for behind, want := range map[int]string{0: second, 1: first, 9: first} {
		old, err := s.OldHead(t.Context(), behind)
		if err != nil {
			t.Fatal(err)
		}
		s.SetFault(old)
		if got := head(); got != want {
			t.Errorf("%d behind: got %s, want %s", behind, got, want)
		}
	}
	s.SetFault(AnswerStatus(http.StatusInternalServerError))
	if out, err := git(t, t.TempDir(), nil, "ls-remote", s.URL("team/app")); err == nil || !strings.Contains(out, "500") {
		t.Errorf("want a status of 500, got %v: %s", err, out)
	}
	s.SetFault(nil)
	if got := head(); got != second {
		t.Errorf("mended: got %s, want %s", got, second)
	}
}

// TestHangMidPack: the refs are told, a pack begins and does not end.
func TestHangMidPack(t *testing.T) {
	s, r := start(t, Options{})
	commit(t, r, Commit{Files: map[string]string{"big": string(noise(1 << 20))}})
	s.SetFault(HangMidPack)
	if out, err := git(t, t.TempDir(), nil, "ls-remote", s.URL("team/app")); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	clone := exec.CommandContext(ctx, "git", "clone", "--quiet", s.URL("team/app"), filepath.Join(t.TempDir(), "work"))
	clone.WaitDelay = time.Second
	if out, err := clone.CombinedOutput(); ctx.Err() == nil {
		t.Errorf("the clone ended by itself: %v: %s", err, out)
	}
}

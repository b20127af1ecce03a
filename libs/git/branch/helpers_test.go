package branch

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/libs/git"
	"github.com/sluice-cd/sluice/libs/gittest"
)

// world is a server with one repository, and mirrors to write to it with.
type world struct {
	*testing.T
	server  *gittest.Server
	repo    *gittest.Repository
	mirrors *git.Mirrors
	auth    git.Auth
	ssh     bool
}

func newWorld(t *testing.T, o gittest.Options) *world {
	t.Helper()
	server, err := gittest.NewServer(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	w := &world{T: t, server: server, ssh: o.SSH}
	if w.repo, err = server.CreateRepository(t.Context(), "app"); err != nil {
		t.Fatal(err)
	}
	w.mirrors = openMirrors(t)
	w.auth = git.Auth{Username: o.Username, Password: o.Password, BearerToken: o.BearerToken}
	if o.TLS {
		w.auth.CA = server.CA()
	}
	if o.SSH {
		w.auth = git.Auth{Identity: server.ClientKey(), KnownHosts: server.KnownHosts()}
	}
	return w
}

func openMirrors(t *testing.T) *git.Mirrors {
	t.Helper()
	m, err := git.NewMirrors(git.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// protocols runs a test over every way to a server.
func protocols(t *testing.T, test func(w *world)) {
	for name, o := range map[string]gittest.Options{
		"http":     {},
		"http v0":  {ProtocolV0: true},
		"password": {Username: "jane", Password: "x"},
		"token":    {BearerToken: "t"},
		"https":    {TLS: true, Username: "jane", Password: "x"},
		"ssh":      {SSH: true},
		"ssh v0":   {SSH: true, ProtocolV0: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(newWorld(t, o))
		})
	}
}

func (w *world) options(push string) Options {
	url := w.server.URL("app")
	if w.ssh {
		url = w.server.SSHURL("app")
	}
	return Options{
		Mirrors: w.mirrors, Push: push,
		Source: git.Source{URL: url, Ref: git.Ref{Branch: "main"}, Auth: w.auth},
	}
}

func (w *world) open(push string) *Branch {
	w.Helper()
	b, err := Open(w.Context(), w.options(push))
	w.do(err)
	w.Cleanup(func() { _ = b.Close() })
	return b
}

func (w *world) seed(c gittest.Commit) string {
	w.Helper()
	hash, err := w.repo.Commit(w.Context(), c)
	w.do(err)
	return hash
}

func (w *world) commit(b *Branch, d Draft) *Commit {
	w.Helper()
	c, err := b.Commit(w.Context(), d)
	w.do(err)
	return c
}

func (w *world) git(args ...string) string {
	w.Helper()
	out, err := w.repo.Git(w.Context(), nil, args...)
	w.do(err)
	return out
}

// sound has git check every object.
func (w *world) sound() {
	w.Helper()
	if out, err := w.repo.Git(w.Context(), nil, "fsck", "--full", "--strict"); err != nil || strings.Contains(out, "error") || strings.Contains(out, "warning") {
		w.Errorf("fsck: %s, %v", out, err)
	}
}

func (w *world) do(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("", 3600))

// draft changes files, given as pairs of path and content.
func draft(files ...string) Draft {
	d := Draft{Changes: map[string][]byte{}, Message: "update", Author: Person{"Bot", "bot@example.com"}, When: noon}
	for i := 0; i < len(files); i += 2 {
		d.Changes[files[i]] = []byte(files[i+1])
	}
	return d
}

func push(ctx context.Context, b *Branch, d Draft) (*Commit, error) {
	c, err := b.Commit(ctx, d)
	if err != nil {
		return nil, err
	}
	return c, b.Push(ctx, c, PushOptions{})
}

func wantError(t *testing.T, err, kind error, words ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("got %v, want %v", err, kind)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
}

package git

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/libs/archive"
	"github.com/sluice-cd/sluice/libs/gittest"
)

// world is a server with one repository, and mirrors to watch it with.
type world struct {
	*testing.T
	server  *gittest.Server
	repo    *gittest.Repository
	mirrors *Mirrors
	dir     string
	auth    Auth
	ssh     bool
}

func newWorld(t *testing.T, o gittest.Options) *world {
	t.Helper()
	w := &world{T: t, dir: t.TempDir(), ssh: o.SSH}
	var err error
	if w.server, err = gittest.NewServer(t.TempDir(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.server.Close() })
	if w.repo, err = w.server.CreateRepository(t.Context(), "app"); err != nil {
		t.Fatal(err)
	}
	w.mirrors = w.open(Limits{})
	if o.SSH {
		w.auth = Auth{Identity: w.server.ClientKey(), KnownHosts: w.server.KnownHosts()}
	}
	return w
}

// open opens the mirrors without a cache of contents, so that everything comes
// from the disk.
func (w *world) open(limits Limits) *Mirrors {
	return w.openCached(limits, 1)
}

func (w *world) openCached(limits Limits, cache int64) *Mirrors {
	w.Helper()
	m, err := NewMirrors(Options{Dir: w.dir, Limits: limits, CacheBytes: cache, Logger: slog.New(slog.NewTextHandler(w.Output(), nil))})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = m.Close() })
	return m
}

func (w *world) commit(c gittest.Commit) string {
	w.Helper()
	hash, err := w.repo.Commit(w.Context(), c)
	if err != nil {
		w.Fatal(err)
	}
	return hash
}

func (w *world) write(files ...string) string {
	w.Helper()
	c := gittest.Commit{Files: map[string]string{}}
	for i := 0; i < len(files); i += 2 {
		c.Files[files[i]] = files[i+1]
	}
	return w.commit(c)
}

func (w *world) source(ref Ref) Source {
	url := w.server.URL("app")
	if w.ssh {
		url = w.server.SSHURL("app")
	}
	return Source{URL: url, Ref: ref, Auth: w.auth}
}

func (w *world) resolve(ref Ref) *Resolved {
	w.Helper()
	r, err := w.mirrors.Resolve(w.Context(), w.source(ref))
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = r.Close() })
	return r
}

func (w *world) fetch(ref Ref) *Snapshot {
	w.Helper()
	s, err := w.resolve(ref).Fetch(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return s
}

// tryFiles goes the whole way and reports where it ended.
func (w *world) tryFiles(ctx context.Context, src Source, sel Selection) (map[string]string, error) {
	r, err := w.mirrors.Resolve(ctx, src)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	s, err := r.Fetch(ctx)
	if err != nil {
		return nil, err
	}
	files, err := s.Files(ctx, sel)
	if err != nil {
		return nil, err
	}
	return contents(files)
}

func (w *world) files(s *Snapshot, sel Selection) map[string]string {
	w.Helper()
	files, err := s.Files(w.Context(), sel)
	if err != nil {
		w.Fatal(err)
	}
	found, err := contents(files)
	w.do(err)
	return found
}

func contents(files []archive.File) (map[string]string, error) {
	found := map[string]string{}
	for _, f := range files {
		r, err := f.Open()
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		found[f.Path] = string(content)
	}
	return found, nil
}

func (w *world) do(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
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

// protocols runs a test over every way to a server.
func protocols(t *testing.T, test func(t *testing.T, w *world)) {
	for name, o := range map[string]gittest.Options{
		"http v2": {},
		"http v0": {ProtocolV0: true},
		"ssh v2":  {SSH: true},
		"ssh v0":  {SSH: true, ProtocolV0: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newWorld(t, o))
		})
	}
}

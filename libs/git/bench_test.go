package git

import (
	"fmt"
	"testing"

	"github.com/sluice-cd/sluice/libs/archive"
	"github.com/sluice-cd/sluice/libs/gittest"
)

// BenchmarkPush measures from a commit on the server to the packed artifact, in a
// repository of 200 small files, of which one changes. Most of it are the
// processes that the test server starts: BenchmarkPoll is one of them.
func BenchmarkPush(b *testing.B) {
	for name, o := range map[string]gittest.Options{"http": {}, "ssh": {SSH: true}} {
		b.Run(name, func(b *testing.B) {
			server, repo, mirrors, src := benchmark(b, o)
			_ = server
			i := 0
			for b.Loop() {
				b.StopTimer()
				i++
				commit(b, repo, map[string]string{"app-1/deployment.yaml": manifest(i)})
				b.StartTimer()
				r, err := mirrors.Resolve(b.Context(), src)
				if err != nil {
					b.Fatal(err)
				}
				s, err := r.Fetch(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				files, err := s.Files(b.Context(), Selection{})
				if err != nil || len(files) != 200 {
					b.Fatal(len(files), err)
				}
				if _, _, err := archive.PackBytes(files); err != nil {
					b.Fatal(err)
				}
				_ = r.Close()
			}
		})
	}
}

// BenchmarkPoll measures a look that finds nothing new.
func BenchmarkPoll(b *testing.B) {
	for name, o := range map[string]gittest.Options{"http": {}, "ssh": {SSH: true}} {
		b.Run(name, func(b *testing.B) {
			_, _, mirrors, src := benchmark(b, o)
			for b.Loop() {
				r, err := mirrors.Resolve(b.Context(), src)
				if err != nil {
					b.Fatal(err)
				}
				_ = r.Close()
			}
		})
	}
}

// BenchmarkFiles measures the reading of a commit that is there.
func BenchmarkFiles(b *testing.B) {
	_, _, mirrors, src := benchmark(b, gittest.Options{})
	r, err := mirrors.Resolve(b.Context(), src)
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	for b.Loop() {
		s, err := r.Fetch(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Files(b.Context(), Selection{}); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmark(b *testing.B, o gittest.Options) (*gittest.Server, *gittest.Repository, *Mirrors, Source) {
	b.Helper()
	server, err := gittest.NewServer(b.TempDir(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Close() })
	repo, err := server.CreateRepository(b.Context(), "app")
	if err != nil {
		b.Fatal(err)
	}
	files := map[string]string{}
	for i := range 200 {
		files[fmt.Sprintf("app-%d/deployment.yaml", i)] = manifest(i)
	}
	commit(b, repo, files)
	mirrors, err := NewMirrors(Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	src := Source{URL: server.URL("app"), Ref: Ref{Branch: "main"}}
	if o.SSH {
		src.URL = server.SSHURL("app")
		src.Auth = Auth{Identity: server.ClientKey(), KnownHosts: server.KnownHosts()}
	}
	r, err := mirrors.Resolve(b.Context(), src)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := r.Fetch(b.Context()); err != nil {
		b.Fatal(err)
	}
	_ = r.Close()
	return server, repo, mirrors, src
}

func commit(b *testing.B, repo *gittest.Repository, files map[string]string) {
	b.Helper()
	if _, err := repo.Commit(b.Context(), gittest.Commit{Files: files}); err != nil {
		b.Fatal(err)
	}
}

func manifest(i int) string {
	return fmt.Sprintf("apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app-%d\nspec:\n  replicas: %d\n  template:\n    spec:\n      containers:\n      - name: main\n        image: registry.example.com/app:%d\n", i, i%5, i)
}

//go:build linux

package git

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/libs/archive"
	"github.com/sluice-cd/sluice/libs/gittest"
)

// TestLargeRepository measures what the repository at SLUICE_LARGE_REPOSITORY
// costs, a bare one with a branch main: the first fetch, an incremental commit,
// and a look without news. The numbers in docs/adr/ come from it.
func TestLargeRepository(t *testing.T) {
	path := os.Getenv("SLUICE_LARGE_REPOSITORY")
	if path == "" {
		t.Skip("SLUICE_LARGE_REPOSITORY names no repository")
	}
	server, err := gittest.NewServer(filepath.Dir(path), gittest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	name := strings.TrimSuffix(filepath.Base(path), ".git")
	repo, err := server.CreateRepository(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	mirrors, err := NewMirrors(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	look := func(what string) {
		t.Helper()
		server.ResetRequests()
		resetPeak(t)
		start := time.Now()
		spent := cpu(t)
		phase := func(name string) {
			t.Logf("%s: %-8s %6.2f s, %5.2f CPU-s, peak so far %d MiB", what, name, time.Since(start).Seconds(), cpu(t)-spent, peak(t))
		}
		r, err := mirrors.Resolve(t.Context(), Source{URL: server.URL(name), Ref: Ref{Branch: "main"}})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		s, err := r.Fetch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		phase("fetched")
		files, err := s.Files(t.Context(), Selection{})
		if err != nil {
			t.Fatal(err)
		}
		phase("read")
		data, _, err := archive.PackBytes(files)
		if err != nil {
			t.Fatal(err)
		}
		phase("packed")
		var sent int64
		for _, r := range server.Requests() {
			sent += r.ResponseBytes
		}
		t.Logf("%s: %d files, artifact %d KiB, received %d KiB in %d requests", what, len(files), len(data)>>10, sent>>10, len(server.Requests()))
		if p := peak(t); p > 512 {
			t.Errorf("%s took %d MiB", what, p)
		}
	}
	look("first")
	for i := range 3 {
		if _, err := repo.Commit(t.Context(), gittest.Commit{Files: map[string]string{"apps/new.yaml": fmt.Sprint("new: ", i, time.Now())}}); err != nil {
			t.Fatal(err)
		}
		look("commit")
	}
}

// resetPeak makes the kernel forget the most memory that this process had.
func resetPeak(t *testing.T) {
	t.Helper()
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Skip("cannot measure memory here:", err)
	}
}

// peak is the most memory that the process had, in MiB.
func peak(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib >> 10
}

// cpu is the processor time of this process, in seconds.
func cpu(t *testing.T) float64 {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

package git

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluice-cd/sluice/libs/gittest"
)

// The child of some tests is this program again, told by its environment to
// fetch a repository.
const childURL, childDir = "GIT_TEST_CHILD_URL", "GIT_TEST_CHILD_DIR"

func TestMain(m *testing.M) {
	if url := os.Getenv(childURL); url != "" {
		if err := fetchAsChild(url, os.Getenv(childDir)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func fetchAsChild(url, dir string) error {
	m, err := NewMirrors(Options{Dir: dir})
	if err != nil {
		return err
	}
	r, err := m.Resolve(context.Background(), Source{URL: url, Ref: Ref{Branch: "main"}})
	if err != nil {
		return err
	}
	_, err = r.Fetch(context.Background())
	return err
}

func child(t *testing.T, url, dir string, before ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", strings.Join(append(before, `exec "$0"`), "; "), self)
	cmd.Env = append(os.Environ(), childURL+"="+url, childDir+"="+dir)
	return cmd
}

func temporary(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*", packDir, tempPrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// A process that is killed in the middle of a pack leaves a mirror on which the
// next one can go on.
func TestKilledWhileFetching(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.write("a", "1")
	stalled := make(chan struct{})
	var stall atomic.Bool
	w.server.SetFault(func(git http.Handler, writer http.ResponseWriter, r *http.Request) {
		if stall.Load() && r.Method == http.MethodPost {
			writer = &stallingWriter{ResponseWriter: writer, left: 100_000, stalled: stalled, ctx: r.Context()}
		}
		git.ServeHTTP(writer, r)
	})
	url := w.server.URL("app")
	if out, err := child(t, url, w.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	w.write("a", "2", "big", noise(5, 300_000))
	stall.Store(true)
	cmd := child(t, url, w.dir)
	w.do(cmd.Start())
	<-stalled
	for len(temporary(t, w.dir)) == 0 { // until the child has begun to write
		if t.Context().Err() != nil {
			t.Fatal("the child does not get to the pack")
		}
		runtime.Gosched()
	}
	w.do(cmd.Process.Kill())
	_ = cmd.Wait()

	stall.Store(false)
	got, err := w.tryFiles(t.Context(), Source{URL: url, Ref: Ref{Branch: "main"}}, Selection{})
	if err != nil || got["a"] != "2" || got["big"] != noise(5, 300_000) {
		t.Fatalf("a is %q, %v", got["a"], err)
	}
	if left := temporary(t, w.dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// stallingWriter passes the beginning of an answer on, and then waits until nobody reads it any more.
type stallingWriter struct {
	http.ResponseWriter
	left    int // bytes
	stalled chan struct{}
	ctx     context.Context // of the request
}

func (w *stallingWriter) Write(p []byte) (int, error) {
	if w.left > len(p) {
		w.left -= len(p)
		return w.ResponseWriter.Write(p)
	}
	_, _ = w.ResponseWriter.Write(p[:w.left])
	_ = http.NewResponseController(w.ResponseWriter).Flush()
	close(w.stalled)
	<-w.ctx.Done()
	return 0, w.ctx.Err()
}

// A disk that takes no more fails the fetch, not the mirror.
func TestDiskIsFull(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.write("a", "1")
	url := w.server.URL("app")
	if out, err := child(t, url, w.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	w.write("a", "2", "big", noise(6, 300_000))
	out, err := child(t, url, w.dir, "ulimit -f 100").CombinedOutput() // blocks of 512 bytes
	if err == nil || !strings.Contains(string(out), "receive the pack") {
		t.Fatalf("wrote a file over the limit of its size: %v: %s", err, out)
	}
	if left := temporary(t, w.dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if got := w.files(w.fetch(Ref{Branch: "main"}), Selection{}); got["a"] != "2" {
		t.Fatalf("got %q", got["a"])
	}
}

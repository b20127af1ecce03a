package git

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
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
	proxy := httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, r *http.Request) {
		response := forward(w, r)
		defer response.Body.Close()
		writer.Header().Set("Content-Type", response.Header.Get("Content-Type"))
		if response.ContentLength < 0 && stall.Load() && r.Method == http.MethodPost {
			if n, _ := io.CopyN(writer, response.Body, 100_000); n == 100_000 {
				writer.(http.Flusher).Flush()
				close(stalled)
				<-r.Context().Done()
				return
			}
		}
		_, _ = io.Copy(writer, response.Body)
	}))
	defer proxy.Close()

	url := proxy.URL + "/app.git"
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

func forward(w *world, r *http.Request) *http.Response {
	target := strings.TrimSuffix(w.server.URL("app"), "/app.git") + r.URL.String()
	request, err := http.NewRequestWithContext(r.Context(), r.Method, target, r.Body)
	if err != nil {
		panic(err)
	}
	request.Header, request.ContentLength = r.Header.Clone(), r.ContentLength
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return response
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

package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/gittest"
	"github.com/sluice-cd/sluice/libs/guard"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/render"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

var who = types.NamespacedName{Namespace: "team", Name: "app"}

// world is a fetcher that runs.
type world struct {
	*testing.T
	*Fetcher
	woken chan types.NamespacedName
}

func newWorld(t *testing.T, o Options) *world {
	t.Helper()
	w := &world{T: t, woken: make(chan types.NamespacedName, 100)}
	o.Log = slog.New(slog.DiscardHandler)
	o.Wake = func(_ context.Context, who types.NamespacedName) { w.woken <- who }
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	w.Fetcher = f
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if _, err := os.Stat(f.dir.Path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("mirrors are left: %v", err)
		}
	})
	return w
}

// get wants an address until it is there.
func (w *world) get(a render.Address, fresh time.Duration) (render.Remote, error) {
	w.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; {
		found, err := w.Want(who, []render.Address{a}, fresh)
		if !errors.Is(err, ErrUnderWay) {
			return found[a], err
		}
		if got := <-w.woken; got != who {
			w.Fatalf("woke %s", got)
		}
		fresh = max(fresh, 10*time.Second)
	}
	w.Fatal("it never ends")
	return render.Remote{}, nil
}

func files(r render.Remote) map[string]string {
	content := map[string]string{}
	for name, data := range r.Tree.All() {
		content[name] = string(data)
	}
	return content
}

func gitServer(t *testing.T) (*gittest.Server, *gittest.Repository) {
	t.Helper()
	s, err := gittest.NewServer(t.TempDir(), gittest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	r, err := s.CreateRepository(t.Context(), "org/repo")
	if err != nil {
		t.Fatal(err)
	}
	return s, r
}

func commit(t *testing.T, r *gittest.Repository, c gittest.Commit) string {
	t.Helper()
	hash, err := r.Commit(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func TestRepositories(t *testing.T) {
	s, r := gitServer(t)
	first := commit(t, r, gittest.Commit{Files: map[string]string{"base/a.yaml": "one", ".sourceignore": "*", "big.bin": strings.Repeat("x", maxFile+1)}})
	if err := r.AnnotatedTag(t.Context(), "v1", first, "one"); err != nil {
		t.Fatal(err)
	}
	second := commit(t, r, gittest.Commit{Files: map[string]string{"base/a.yaml": "two"}})
	side := commit(t, r, gittest.Commit{Branch: "side/branch", Parent: first, Files: map[string]string{"base/a.yaml": "side"}})
	w := newWorld(t, Options{Allow: loopback})
	address := s.URL("org/repo")
	for suffix, want := range map[string]struct{ hash, content, path string }{
		"//base":                              {second, "two", "base"},
		"//base?ref=v1":                       {first, "one", "base"},
		"//?ref=side/branch":                  {side, "side", "."},
		"/base?ref=refs/heads/side/branch":    {side, "side", "base"},
		"//base?version=v1&timeout=20":        {first, "one", "base"},
		"//base?ref=" + first + "&timeout=5s": {first, "one", "base"},
		"//base/?submodules=false&ref=HEAD":   {second, "two", "base"},
	} {
		got, err := w.get(render.Address{Text: address + suffix}, time.Minute)
		if err != nil {
			t.Errorf("%s: %v", suffix, err)
			continue
		}
		d := cmp.Diff(map[string]string{"base/a.yaml": want.content, ".sourceignore": "*"}, files(got))
		if d != "" || got.ID != want.hash || got.Path != want.path {
			t.Errorf("%s: %s at %s: %s", suffix, got.Path, got.ID, d)
		}
	}
}

func TestRepositoriesOnDiskAreBounded(t *testing.T) {
	s, r := gitServer(t)
	commit(t, r, gittest.Commit{Files: map[string]string{"a.yaml": "one"}})
	w := newWorld(t, Options{Allow: loopback, DiskBytes: 1})
	address := render.Address{Text: s.URL("org/repo") + "//."}
	for _, want := range []string{"one", "two"} { // the second time with nothing on disk
		got, err := w.get(address, 0)
		if err != nil || files(got)["a.yaml"] != want {
			t.Fatalf("%v, %v", files(got), err)
		}
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			left, err := os.ReadDir(filepath.Join(w.dir.Path, "mirrors"))
			if err == nil && len(left) == 0 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%d repositories are on disk, %v", len(left), err)
			}
		}
		commit(t, r, gittest.Commit{Files: map[string]string{"a.yaml": "two"}})
	}
}

func TestBranchIsFollowed(t *testing.T) {
	s, r := gitServer(t)
	commit(t, r, gittest.Commit{Files: map[string]string{"a.yaml": "one"}})
	w, a := newWorld(t, Options{Allow: loopback}), render.Address{Text: s.URL("org/repo") + "?ref=main"}
	first, err := w.get(a, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	same, err := w.get(render.Address{Text: s.URL("org/repo") + "//x?ref=main"}, time.Hour)
	if err != nil || same.Tree != first.Tree {
		t.Errorf("another address of the commit has a tree of its own (%v)", err)
	}
	second := commit(t, r, gittest.Commit{Files: map[string]string{"a.yaml": "two"}})
	s.ResetRequests()
	if got, err := w.get(a, time.Hour); err != nil || got.ID != first.ID || len(s.Requests()) > 0 {
		t.Errorf("fresh: %s, %v, %d requests", got.ID, err, len(s.Requests()))
	}
	if got, err := w.get(a, 0); err != nil || got.ID != second {
		t.Errorf("not fresh: %s, %v", got.ID, err)
	}
	fixed := render.Address{Text: s.URL("org/repo") + "?ref=" + second}
	if _, err := w.get(fixed, time.Hour); err != nil {
		t.Fatal(err)
	}
	s.ResetRequests()
	if got, err := w.get(fixed, 0); err != nil || got.ID != second || len(s.Requests()) > 0 {
		t.Errorf("a commit was asked for again: %v", err)
	}
}

func TestFiles(t *testing.T) {
	mux := http.NewServeMux()
	serve := func(path, contentType, body string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "" || r.Header.Get("Referer") != "" || r.Header.Get("Cookie") != "" {
				t.Errorf("headers %v", r.Header)
			}
			w.Header().Set("Content-Type", contentType)
			fmt.Fprint(w, body)
		})
	}
	serve("/org/repo/app.yaml", "text/plain", "kind: A")
	serve("/page", "text/html", "<html>")
	serve("/large.yaml", "text/plain", strings.Repeat("#", maxFile+1))
	mux.HandleFunc("/moved.yaml", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/org/repo/app.yaml", http.StatusFound)
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/metadata", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
	})
	mux.HandleFunc("/local", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
	})
	mux.HandleFunc("/user", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://a:b@"+r.Host+"/org/repo/app.yaml", http.StatusFound)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	w := newWorld(t, Options{Allow: loopback})
	for path, name := range map[string]string{"/org/repo/app.yaml?token=secret": "app.yaml", "/moved.yaml#x": "moved.yaml"} {
		got, err := w.get(render.Address{Text: server.URL + path}, time.Hour)
		if err != nil || got.Path != name || cmp.Diff(map[string]string{name: "kind: A"}, files(got)) != "" || !strings.HasPrefix(got.ID, "sha256:") {
			t.Errorf("%s: %+v, %v", path, got, err)
		}
	}
	for path, want := range map[string]string{
		"/page": "web page", "/large.yaml": "more than", "/none.yaml?token=secret": "404", "/loop": "does not follow",
		"/metadata": "169.254.169.254 are refused", "/local": "does not follow", "/user": "does not follow",
	} {
		_, err := w.get(render.Address{Text: server.URL + path, Form: render.OnlyFile}, time.Hour)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// What is behind an address is found out where kustomize does: a file if there is one, and else a repository.
func TestPageOfRepository(t *testing.T) {
	s, r := gitServer(t)
	hash := commit(t, r, gittest.Commit{Files: map[string]string{"a.yaml": "one"}})
	s.SetHook(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/org/repo") {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<html>")
			return true
		}
		return false
	})
	w := newWorld(t, Options{Allow: loopback})
	got, err := w.get(render.Address{Text: strings.TrimSuffix(s.URL("org/repo"), ".git")}, time.Hour)
	if err != nil || got.ID != hash {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAddressesOfThisMachineAreRefused(t *testing.T) {
	asked := false
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer server.Close()
	w := newWorld(t, Options{})
	port := server.URL[strings.LastIndex(server.URL, ":"):]
	for _, text := range []string{
		server.URL + "/a.yaml", server.URL + "/org/repo.git//x", "http://localhost" + port + "/a.yaml", "http://[::1]" + port + "/a.yaml",
		"http://169.254.169.254/latest/meta-data/iam", "http://[fe80::1]/a.yaml", "http://[::ffff:127.0.0.1]" + port + "/a.yaml",
		"http://0.0.0.0" + port + "/org/repo.git", "git::http://127.1.2.3" + port + "/org/repo", "http://[fd00:ec2::254]/org/repo.git",
	} {
		if _, err := w.get(render.Address{Text: text}, time.Hour); err == nil || !strings.Contains(err.Error(), "are refused") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if asked {
		t.Error("the server was asked")
	}
}

// A repository must not lead the fetch of its submodules to this machine, nor a redirect that of itself.
func TestRepositoriesLeadNowhereElse(t *testing.T) {
	s, r := gitServer(t)
	inner := commit(t, r, gittest.Commit{Files: map[string]string{"a.yaml": "one"}})
	outer, err := s.CreateRepository(t.Context(), "org/outer")
	if err != nil {
		t.Fatal(err)
	}
	commit(t, outer, gittest.Commit{
		Files:      map[string]string{"b.yaml": "two", ".gitmodules": "[submodule \"m\"]\n\tpath = m\n\turl = http://127.0.0.9:1/org/repo\n"},
		Submodules: map[string]string{"m": inner},
	})
	w := newWorld(t, Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	if _, err := w.get(render.Address{Text: s.URL("org/outer") + "//"}, time.Hour); err == nil || !strings.Contains(err.Error(), "127.0.0.9 are refused") {
		t.Errorf("submodule: %v", err)
	}
	if got, err := w.get(render.Address{Text: s.URL("org/outer") + "//?submodules=false"}, time.Hour); err != nil || files(got)["b.yaml"] != "two" {
		t.Errorf("without submodules: %v", err)
	}
	s.SetHook(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, "http://169.254.169.254"+r.URL.RequestURI(), http.StatusFound)
		return true
	})
	if _, err := w.get(render.Address{Text: s.URL("org/repo") + "//x"}, time.Hour); err == nil || !strings.Contains(err.Error(), "169.254.169.254 are refused") {
		t.Errorf("redirect: %v", err)
	}
}

func TestSlowServerHarmsNoOther(t *testing.T) {
	s, r := gitServer(t)
	hash := commit(t, r, gittest.Commit{Files: map[string]string{"a.yaml": "one"}})
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer slow.Close()
	defer close(release)
	w := newWorld(t, Options{Allow: loopback})
	var hanging []render.Address
	for i := range 2 * atOnce {
		hanging = append(hanging, render.Address{Text: fmt.Sprintf("%s/%d.yaml", slow.URL, i), Form: render.OnlyFile})
	}
	other := types.NamespacedName{Name: "other"}
	if _, err := w.Want(other, hanging, time.Hour); !errors.Is(err, ErrUnderWay) {
		t.Fatal(err)
	}
	got, err := w.get(render.Address{Text: s.URL("org/repo") + "//"}, time.Hour)
	if err != nil || got.ID != hash {
		t.Errorf("%v, %v", got, err)
	}
}

func TestTimeout(t *testing.T) {
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer slow.Close()
	defer close(release)
	w := newWorld(t, Options{Allow: loopback})
	if _, err := w.get(render.Address{Text: slow.URL + "/org/repo.git?timeout=1s"}, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestKeptIsBounded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, strings.Repeat("#", 1000)) }))
	defer server.Close()
	w := newWorld(t, Options{Allow: loopback, KeptBytes: 5000})
	for i := range 20 {
		if _, err := w.get(render.Address{Text: fmt.Sprintf("%s/%d.yaml", server.URL, i), Form: render.OnlyFile}, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.bytes(); got > 5000 || got < 4000 {
		t.Errorf("%d bytes are kept", got)
	}
}

// Who waited for a fetch that failed is told of it, however long it took to come.
func TestFailureIsToldLate(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	w := newWorld(t, Options{Allow: loopback})
	a := []render.Address{{Text: server.URL + "/a.yaml", Form: render.OnlyFile}}
	for range 2 {
		if _, err := w.Want(who, a, time.Hour); !errors.Is(err, ErrUnderWay) {
			t.Fatal(err)
		}
		<-w.woken
		w.mu.Lock()
		w.entries[a[0]].at = time.Now().Add(-2 * trustFailure)
		w.mu.Unlock()
		if _, err := w.Want(who, a, time.Hour); !errors.Is(err, errNoFile) {
			t.Fatal(err)
		}
	}
}

func TestPanicIsAnError(t *testing.T) {
	w := newWorld(t, Options{})
	if _, err := w.try(t.Context(), &entry{}); !errors.Is(err, errPanic) {
		t.Error(err)
	}
}

// Behind a proxy nobody judges connections, so an address that a redirect names is judged as it stands.
func TestRedirectsToAddresses(t *testing.T) {
	client := newClient(guard.Guard{})
	to := httptest.NewRequest(http.MethodGet, "http://169.254.169.254/x", nil)
	if err := client.CheckRedirect(to, []*http.Request{httptest.NewRequest(http.MethodGet, "http://example.org/", nil)}); err == nil {
		t.Error("the metadata of a cloud is followed to")
	}
}

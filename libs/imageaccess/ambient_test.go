package imageaccess

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/registry"
)

func image(t *testing.T, name string) registry.Image {
	t.Helper()
	i, err := registry.ParseImage(name)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// metadataServer is what Google's machines ask who they are.
func metadataServer(t *testing.T, knowsUs *atomic.Bool) *atomic.Int32 {
	t.Helper()
	asked := new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		if !strings.HasSuffix(r.URL.Path, "/token") {
			return
		}
		asked.Add(1)
		if !knowsUs.Load() {
			http.Error(w, "no service account", http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(`{"access_token":"of-the-node","expires_in":3600,"token_type":"Bearer"}`))
	}))
	t.Cleanup(server.Close)
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(server.URL, "http://"))
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	t.Setenv("HOME", t.TempDir()) // with no credentials of whoever runs the test
	return asked
}

func TestAmbientLogin(t *testing.T) {
	var knowsUs atomic.Bool
	knowsUs.Store(true)
	asked := metadataServer(t, &knowsUs)
	r, err := New(&kube.Cluster{}, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ghcr.io/org/web", "gcr.io.example.com/org/web", "example.com/gcr.io/web"} {
		if access, reason := r.Ambient(t.Context(), image(t, name)); access.Credential != nil || reason != nil || asked.Load() != 0 {
			t.Errorf("%s: a login that is of no cloud's registry: %v %v", name, access, reason)
		}
	}
	access, reason := r.Ambient(t.Context(), image(t, "eu.gcr.io/org/web"))
	if reason != nil || access.Credential == nil {
		t.Fatalf("no login: %v", reason)
	}
	if login, err := access.Credential.Login(t.Context()); err != nil || login.Username != "oauth2accesstoken" || login.Password != "of-the-node" {
		t.Errorf("the login is of %q: %v", login.Username, err)
	}
}

// What is not to be had here is not asked for again and again, and keeps nobody from a public image.
func TestNoAmbientLogin(t *testing.T) {
	var knowsUs atomic.Bool
	asked := metadataServer(t, &knowsUs)
	r, err := New(&kube.Cluster{}, false)
	if err != nil {
		t.Fatal(err)
	}
	web := image(t, "europe-docker.pkg.dev/org/images/web")
	_, first := r.Ambient(t.Context(), web)
	before := asked.Load()
	access, again := r.Ambient(t.Context(), web)
	if first == nil || again == nil || access.Credential != nil || before == 0 || asked.Load() != before {
		t.Errorf("asked %d times, then %d: %v, %v", before, asked.Load(), first, again)
	}
}

func TestRules(t *testing.T) {
	r := Rules{MaxTags: 1, Include: []string{"ghcr.io/*", "*/library/redis"}, Exclude: []string{"*/secret/*"}, InsecureHosts: []string{"*.local:5000"}}
	for name, want := range map[string]bool{
		"ghcr.io/org/web": true, "redis": true, "redis-x": false, "quay.io/org/web": false, "ghcr.io/secret/web": false, "ghcr.io.example.com/org/web": false,
	} {
		if got := r.Scans(image(t, name)); got != want {
			t.Errorf("%s is scanned: %v", name, got)
		}
	}
	for name, want := range map[string]bool{"a.local:5000/x": true, "a.local/x": false, "ghcr.io/a.local:5000": false} {
		if i, err := registry.ParseImage(name); err == nil && r.AllowsInsecure(i) != want {
			t.Errorf("%s over plain HTTP: %v", name, !want)
		}
	}
	if err := r.Validate(); err != nil {
		t.Error(err)
	}
	for _, bad := range []Rules{{}, {MaxTags: 1, InsecureHosts: []string{"["}}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	if open := DefaultRules(); !open.Scans(image(t, "redis")) || !open.AllowsInsecure(image(t, "redis")) || open.Validate() != nil {
		t.Error("the defaults forbid something")
	}
}

// Package registrytest gives tests a real registry with what registries do in front: pages, logins, limits, faults; and it counts.
package registrytest

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Options of a Server.
type Options struct {
	TLS                bool
	Username, Password string // asked for where set
	Token              bool   // by a token service, at /token of the same host
	PageSize           int    // most tags of one page; 0 for any number
}

// Server is a registry. Its fields may not be changed.
type Server struct {
	*httptest.Server
	options Options
	inner   http.Handler

	mu       sync.Mutex
	tags     map[string][]string // listings that stand for what was pushed
	fault    func(http.ResponseWriter, *http.Request) bool
	requests []Request
	issued   int
}

// Request is one that came.
type Request struct {
	Method, Path, Query, Authorization string
	At                                 time.Time
}

// Start starts a registry that ends with the test.
func Start(t testing.TB, o Options) *Server {
	s := &Server{options: o, inner: registry.New(registry.Logger(log.New(io.Discard, "", 0))), tags: map[string][]string{}}
	if o.TLS {
		s.Server = httptest.NewTLSServer(s)
	} else {
		s.Server = httptest.NewServer(s)
	}
	t.Cleanup(s.Close)
	return s
}

// Host is the registry's address in names of images.
func (s *Server) Host() string {
	return strings.TrimPrefix(strings.TrimPrefix(s.URL, "https://"), "http://")
}

// SetTags makes a listing of tags that need not exist; as they stand, they are in the registry's order.
func (s *Server) SetTags(repository string, tags ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tags[repository] = tags
}

// SetFault lets f answer requests; it says whether it did. Nil for none.
func (s *Server) SetFault(f func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Requests are those that came, from tests' own pushes apart.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Count counts the requests whose method and path begin so, as in "GET /v2/app/tags/".
func (s *Server) Count(begin string) int {
	n := 0
	for _, r := range s.Requests() {
		if strings.HasPrefix(r.Method+" "+r.Path, begin) {
			n++
		}
	}
	return n
}

// Reset forgets the requests.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = nil
}

// ServeHTTP is the registry.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get(pusher) != "" {
		s.inner.ServeHTTP(w, r)
		return
	}
	s.mu.Lock()
	s.requests = append(s.requests, Request{r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Get("Authorization"), time.Now()})
	fault := s.fault
	s.mu.Unlock()
	switch {
	case fault != nil && fault(w, r):
	case r.URL.Path == "/token":
		s.issue(w, r)
	case !s.admitted(w, r):
	case strings.HasSuffix(r.URL.Path, "/tags/list"):
		s.list(w, r)
	default:
		s.inner.ServeHTTP(w, r)
	}
}

func (s *Server) issue(w http.ResponseWriter, r *http.Request) {
	if user, password, _ := r.BasicAuth(); user != s.options.Username || password != s.options.Password {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.mu.Lock()
	s.issued++
	token := fmt.Sprintf("token-%d %s", s.issued, r.URL.Query().Get("scope"))
	s.mu.Unlock()
	_ = json.NewEncoder(w).Encode(map[string]any{"token": url.QueryEscape(token), "expires_in": 300})
}

func (s *Server) admitted(w http.ResponseWriter, r *http.Request) bool {
	if s.options.Username == "" && !s.options.Token {
		return true
	}
	if s.options.Token {
		repository := strings.TrimPrefix(r.URL.Path, "/v2/")
		for _, part := range []string{"/tags/", "/manifests/", "/blobs/"} {
			repository, _, _ = strings.Cut(repository, part)
		}
		scope := "repository:" + repository + ":pull"
		if strings.HasPrefix(r.Header.Get("Authorization"), "Bearer token-") && strings.HasSuffix(r.Header.Get("Authorization"), "+"+url.QueryEscape(scope)) {
			return true
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="test",scope="%s"`, s.URL, scope))
	} else {
		if user, password, _ := r.BasicAuth(); user == s.options.Username && password == s.options.Password {
			return true
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
	}
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
	return false
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	repository := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/v2/"), "/tags/list")
	s.mu.Lock()
	tags, known := s.tags[repository]
	s.mu.Unlock()
	if !known {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}`)
		return
	}
	if last := r.URL.Query().Get("last"); last != "" {
		tags = tags[slices.Index(tags, last)+1:]
	}
	n, _ := strconv.Atoi(r.URL.Query().Get("n"))
	if n == 0 || s.options.PageSize > 0 && n > s.options.PageSize {
		n = s.options.PageSize
	}
	if n > 0 && len(tags) > n {
		tags = tags[:n]
		w.Header().Set("Link", fmt.Sprintf(`</v2/%s/tags/list?last=%s&n=%d>; rel="next"`, repository, url.QueryEscape(tags[n-1]), n))
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"name": repository, "tags": tags})
}

// Image is what to push.
type Image struct {
	Created time.Time
	Labels  map[string]string
	// Platforms make an index of images for them, as os/architecture; none makes an image for linux/amd64.
	Platforms []string
}

// pusher marks the requests of tests' own pushes.
const pusher = "X-Test-Push"

type pushing struct{ http.RoundTripper }

func (p pushing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(pusher, "yes")
	return p.RoundTripper.RoundTrip(r)
}

// Push pushes an image under a tag, lists it, and returns its digest.
func (s *Server) Push(t testing.TB, repository, tag string, i Image) string {
	t.Helper()
	options := []name.Option{}
	if !s.options.TLS {
		options = append(options, name.Insecure)
	}
	ref, err := name.NewTag(s.Host()+"/"+repository+":"+tag, options...)
	if err != nil {
		t.Fatal(err)
	}
	digest := s.push(t, ref, i)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.tags[repository], tag) {
		s.tags[repository] = append(slices.Clone(s.tags[repository]), tag)
		slices.Sort(s.tags[repository])
	}
	return digest
}

func (s *Server) push(t testing.TB, ref name.Tag, i Image) string {
	t.Helper()
	transport := remote.WithTransport(pushing{s.Client().Transport})
	if len(i.Platforms) == 0 {
		image := build(t, i, v1.Platform{OS: "linux", Architecture: "amd64"})
		must(t, remote.Write(ref, image, transport))
		digest, err := image.Digest()
		must(t, err)
		return digest.String()
	}
	index := v1.ImageIndex(empty.Index)
	for _, text := range i.Platforms {
		platform, err := v1.ParsePlatform(text)
		must(t, err)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: build(t, i, *platform), Descriptor: v1.Descriptor{Platform: platform}})
	}
	must(t, remote.WriteIndex(ref, index, transport))
	digest, err := index.Digest()
	must(t, err)
	return digest.String()
}

func build(t testing.TB, i Image, platform v1.Platform) v1.Image {
	t.Helper()
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		OS: platform.OS, Architecture: platform.Architecture, Variant: platform.Variant, Created: v1.Time{Time: i.Created},
		Config: v1.Config{Labels: i.Labels}, RootFS: v1.RootFS{Type: "layers"},
	})
	must(t, err)
	return image
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

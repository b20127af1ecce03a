package registry_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/libs/registry"
	"github.com/sluice-cd/sluice/libs/registry/registrytest"
)

// budget grants everything and notes what it is told.
type budget struct {
	mu     sync.Mutex
	taken  int
	wait   time.Duration
	blocks []string
}

func (b *budget) Take(context.Context, string, string) (time.Duration, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken++
	return b.wait, nil
}

func (b *budget) Block(_ context.Context, _, class string, d time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.blocks = append(b.blocks, fmt.Sprintf("%s %s", class, d))
	return nil
}

func client(t *testing.T, b *budget, tokenHosts ...string) *registry.Client {
	t.Helper()
	c, err := registry.New(registry.Options{Budget: b, UserAgent: "test", TokenHosts: tokenHosts})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func image(t *testing.T, address string) registry.Image {
	t.Helper()
	i, err := registry.ParseImage(address)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func numbered(n int) []string {
	tags := make([]string, n)
	for i := range tags {
		tags[i] = fmt.Sprintf("v%06d", i)
	}
	return tags
}

func TestTagsOfManyPages(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{PageSize: 300})
	s.SetTags("org/app", numbered(10_000)...)
	b := &budget{}
	var got []string
	next := ""
	for {
		// Another client each time: what it takes to go on is all in Next.
		page, err := client(t, b).Repository(image(t, s.Host()+"/org/app"), registry.Access{}).Tags(t.Context(), next)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, page.Tags...)
		if next = page.Next; next == "" {
			break
		}
	}
	if diff := cmp.Diff(numbered(10_000), got); diff != "" {
		t.Error(diff)
	}
	if want := 34; s.Count("GET /v2/") != want {
		t.Errorf("%d requests, want %d", s.Count("GET /v2/"), want)
	}
}

func TestLogin(t *testing.T) {
	for name, o := range map[string]registrytest.Options{
		"basic": {Username: "user", Password: "secret"},
		"token": {Username: "user", Password: "secret", Token: true},
		"tls":   {Username: "user", Password: "secret", Token: true, TLS: true},
		"free":  {Token: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, o)
			s.SetTags("org/app", "1")
			s.SetTags("org/other", "2")
			access := registry.Access{}
			if o.Username != "" {
				access.Credential = registry.NewStatic(registry.Login{Username: "user", Password: "secret"})
			}
			if o.TLS {
				roots := x509.NewCertPool()
				roots.AddCert(s.Certificate())
				access.TLS, access.TLSID = &tls.Config{RootCAs: roots}, "test"
			}
			c := client(t, &budget{})
			app, other := c.Repository(image(t, s.Host()+"/org/app"), access), c.Repository(image(t, s.Host()+"/org/other"), access)
			for _, r := range []*registry.Repository{app, other} {
				if _, err := r.Tags(t.Context(), ""); err != nil {
					t.Fatal(err)
				}
			}
			s.Reset()
			if _, err := app.Tags(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
			if n := len(s.Requests()); n != 1 {
				t.Errorf("%d requests once the way is known, want 1: %v", n, s.Requests())
			}
		})
	}
}

func TestWrongLogin(t *testing.T) {
	for name, token := range map[string]bool{"basic": false, "token": true} {
		for who, credential := range map[string]registry.Credential{
			"nobody": nil, "wrong": registry.NewStatic(registry.Login{Username: "user", Password: "hunter2"}),
			"foreign token": registry.NewStatic(registry.Login{RegistryToken: "hunter2"}),
		} {
			t.Run(name+" "+who, func(t *testing.T) {
				s := registrytest.Start(t, registrytest.Options{Username: "user", Password: "secret", Token: token})
				s.SetTags("org/app", "1")
				_, err := client(t, &budget{}).Repository(image(t, s.Host()+"/org/app"), registry.Access{Credential: credential}).Tags(t.Context(), "")
				if !errors.Is(err, registry.ErrUnauthorized) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("err = %v, want %v without the password", err, registry.ErrUnauthorized)
				}
			})
		}
	}
}

// TestTokenThatIsRefused holds that a token which the registry refuses is replaced once.
func TestTokenThatIsRefused(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{Token: true})
	s.SetTags("org/app", "1")
	r := client(t, &budget{}).Repository(image(t, s.Host()+"/org/app"), registry.Access{})
	if _, err := r.Tags(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	s.SetFault(func(w http.ResponseWriter, q *http.Request) (done bool) {
		if q.URL.Path == "/token" {
			return false
		}
		once.Do(func() {
			done = true
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="test"`, s.URL))
			w.WriteHeader(http.StatusUnauthorized)
		})
		return done
	})
	s.Reset()
	if _, err := r.Tags(t.Context(), ""); err != nil || s.Count("GET /token") != 1 {
		t.Errorf("err = %v after %d new tokens, want one", err, s.Count("GET /token"))
	}
}

func TestCredentialsGoNowhereElse(t *testing.T) {
	login := registry.Access{Credential: registry.NewStatic(registry.Login{Username: "user", Password: "secret"})}
	t.Run("token service elsewhere", func(t *testing.T) {
		thief := registrytest.Start(t, registrytest.Options{})
		s := registrytest.Start(t, registrytest.Options{})
		s.SetFault(func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://localhost:`+thief.Host()[strings.LastIndex(thief.Host(), ":")+1:]+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		})
		_, err := client(t, &budget{}).Repository(image(t, s.Host()+"/org/app"), login).Tags(t.Context(), "")
		if !errors.Is(err, registry.ErrRefused) || len(thief.Requests()) != 0 {
			t.Errorf("err = %v, and the other host got %v", err, thief.Requests())
		}
		_, err = client(t, &budget{}, "local*").Repository(image(t, s.Host()+"/org/app"), login).Tags(t.Context(), "")
		if errors.Is(err, registry.ErrRefused) || len(thief.Requests()) == 0 {
			t.Errorf("err = %v, though the setting allows it", err)
		}
	})
	t.Run("redirect", func(t *testing.T) {
		thief := registrytest.Start(t, registrytest.Options{})
		thief.SetTags("org/app", "9")
		s := registrytest.Start(t, registrytest.Options{Username: "user", Password: "secret"})
		s.SetTags("org/app", "1")
		r := client(t, &budget{}).Repository(image(t, s.Host()+"/org/app"), login)
		if _, err := r.Tags(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		s.SetFault(func(w http.ResponseWriter, q *http.Request) bool {
			http.Redirect(w, q, thief.URL+q.URL.Path, http.StatusTemporaryRedirect)
			return true
		})
		if _, err := r.Tags(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		for _, q := range thief.Requests() {
			if q.Authorization != "" {
				t.Errorf("the other host got %q", q.Authorization)
			}
		}
	})
	t.Run("link-local", func(t *testing.T) {
		s := registrytest.Start(t, registrytest.Options{})
		s.SetFault(func(w http.ResponseWriter, q *http.Request) bool {
			http.Redirect(w, q, "http://169.254.169.254/latest/meta-data", http.StatusFound)
			return true
		})
		_, err := client(t, &budget{}).Repository(image(t, s.Host()+"/org/app"), registry.Access{}).Tags(t.Context(), "")
		if !errors.Is(err, registry.ErrRefused) {
			t.Errorf("err = %v, want %v", err, registry.ErrRefused)
		}
		_, err = client(t, &budget{}).Repository(image(t, "169.254.169.254/org/app"), registry.Access{Insecure: true}).Tags(t.Context(), "")
		if !errors.Is(err, registry.ErrRefused) {
			t.Errorf("err = %v, want %v", err, registry.ErrRefused)
		}
	})
	t.Run("next page", func(t *testing.T) {
		for _, link := range []string{`</v2/org/secret/tags/list?last=1>`, `<http://[bad>`, `nonsense`, `</etc/passwd>`} {
			s := registrytest.Start(t, registrytest.Options{})
			s.SetFault(func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Link", link)
				_, _ = w.Write([]byte(`{"tags":["1"]}`))
				return true
			})
			_, err := client(t, &budget{}).Repository(image(t, s.Host()+"/org/app"), login).Tags(t.Context(), "")
			if !errors.Is(err, registry.ErrMalformed) {
				t.Errorf("link %s: err = %v, want %v", link, err, registry.ErrMalformed)
			}
		}
	})
}

func TestPlainHTTPOnlyWhereAllowed(t *testing.T) {
	if _, err := client(t, &budget{}).Repository(image(t, "registry.invalid/org/app"), registry.Access{}).Tags(t.Context(), ""); !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("err = %v, want %v", err, registry.ErrUnavailable)
	}
	s := registrytest.Start(t, registrytest.Options{})
	s.SetTags("app", "1")
	c := client(t, &budget{})
	for range 2 {
		if _, err := c.Repository(image(t, s.Host()+"/app"), registry.Access{}).Tags(t.Context(), ""); err != nil {
			t.Error(err)
		}
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	tests := map[string]struct {
		status int
		body   string
		header map[string]string
		want   error
	}{
		"not found":   {404, `{"errors":[{"code":"NAME_UNKNOWN","message":"no such image"}]}`, nil, registry.ErrNotFound},
		"forbidden":   {403, ``, nil, registry.ErrUnauthorized},
		"broken":      {500, `<html>oops`, nil, registry.ErrUnavailable},
		"gateway":     {502, ``, nil, registry.ErrUnavailable},
		"many":        {429, ``, map[string]string{"Retry-After": "7"}, registry.ErrTooManyRequests},
		"cut":         {200, `{"tags":["1.0","2.`, nil, registry.ErrMalformed},
		"html":        {200, `<html>welcome</html>`, nil, registry.ErrMalformed},
		"endless":     {200, `{"tags":["` + strings.Repeat("x", 17<<20), nil, registry.ErrMalformed},
		"early end":   {200, `{"tags":["1.0"]}`, map[string]string{"Content-Length": "100000"}, registry.ErrUnavailable},
		"nowhere":     {302, ``, nil, registry.ErrMalformed},
		"round about": {307, ``, map[string]string{"Location": "/v2/org/app/tags/list"}, registry.ErrMalformed},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{})
			s.SetFault(func(w http.ResponseWriter, _ *http.Request) bool {
				for k, v := range test.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.body))
				return true
			})
			_, err := client(t, &budget{}).Repository(image(t, s.Host()+"/org/app"), registry.Access{}).Tags(t.Context(), "")
			if !errors.Is(err, test.want) {
				t.Fatalf("err = %v, want %v", err, test.want)
			}
			if len(err.Error()) > 600 || strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("error is not fit for a condition: %q", err.Error())
			}
		})
	}
}

func TestHostileTagsAreDropped(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.SetTags("app", "1.0", "$(rm -rf)", "a\nb", "", "-x", strings.Repeat("a", 129), "ok_1-2.3")
	page, err := client(t, &budget{}).Repository(image(t, s.Host()+"/app"), registry.Access{}).Tags(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1.0", "ok_1-2.3"}, page.Tags); diff != "" || page.Invalid != 5 {
		t.Errorf("%d invalid, and %s", page.Invalid, diff)
	}
}

func TestLimitsReachTheBudget(t *testing.T) {
	soon := fmt.Sprint(time.Now().Add(30 * time.Second).Unix())
	tests := map[string]struct {
		status int
		header map[string]string
		want   []string
	}{
		"none":                {200, nil, nil},
		"seconds":             {429, map[string]string{"Retry-After": "7"}, []string{" 7s"}},
		"forever":             {429, map[string]string{"Retry-After": "99999999999"}, []string{" 1h0m0s"}},
		"nonsense":            {429, map[string]string{"Retry-After": "soon"}, []string{" 0s"}},
		"not a number":        {429, map[string]string{"Retry-After": "NaN"}, []string{" 0s"}},
		"later":               {503, map[string]string{"Retry-After": "3"}, []string{" 3s"}},
		"docker hub":          {429, map[string]string{"Ratelimit-Limit": "100;w=21600", "Ratelimit-Remaining": "0;w=21600"}, []string{"tags 3m36s"}},
		"docker hub has left": {200, map[string]string{"Ratelimit-Limit": "100;w=21600", "Ratelimit-Remaining": "76;w=21600"}, nil},
		"little left":         {200, map[string]string{"X-Ratelimit-Limit": "100", "X-Ratelimit-Remaining": "4", "X-Ratelimit-Reset": "10"}, []string{"tags 2s"}},
		"draft":               {200, map[string]string{"RateLimit": `"default";r=0;t=12`}, []string{"tags 12s"}},
		"a time":              {200, map[string]string{"RateLimit-Limit": "10", "RateLimit-Remaining": "0", "RateLimit-Reset": soon}, []string{"tags 30s"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{})
			s.SetFault(func(w http.ResponseWriter, _ *http.Request) bool {
				for k, v := range test.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(`{"tags":[]}`))
				return true
			})
			b := &budget{}
			_, _ = client(t, b).Repository(image(t, s.Host()+"/app"), registry.Access{}).Tags(t.Context(), "")
			got := b.blocks
			if name == "a time" && len(got) == 1 && got[0] == "tags 29s" { // a second may have begun
				got = test.want
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDeferred(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	_, err := client(t, &budget{wait: time.Minute}).Repository(image(t, s.Host()+"/app"), registry.Access{}).Tags(t.Context(), "")
	var deferred *registry.Deferred
	if !errors.As(err, &deferred) || deferred.Wait != time.Minute || len(s.Requests()) != 0 {
		t.Errorf("err = %v after %d requests", err, len(s.Requests()))
	}
}

func TestDigestAndMetadata(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	created := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	labels := map[string]string{"org.opencontainers.image.version": "1.2"}
	one := s.Push(t, "app", "1", registrytest.Image{Created: created, Labels: labels})
	many := s.Push(t, "app", "2", registrytest.Image{Created: created, Labels: labels, Platforms: []string{"linux/arm64", "linux/amd64", "linux/arm/v7"}})
	r := client(t, &budget{}).Repository(image(t, s.Host()+"/app"), registry.Access{})
	for tag, want := range map[string]*registry.Metadata{
		"1": {Digest: one, Created: created, Labels: labels, Platforms: []string{"linux/amd64"}},
		"2": {Digest: many, Created: created, Labels: labels, Platforms: []string{"linux/amd64", "linux/arm/v7", "linux/arm64"}},
	} {
		digest, err := r.Digest(t.Context(), tag)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Metadata(t.Context(), digest)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("tag %s: %s", tag, diff)
		}
	}
	if _, err := r.Digest(t.Context(), "3"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("err = %v, want %v", err, registry.ErrNotFound)
	}
	s.SetFault(func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = w.Write([]byte(`{"config":{}}`))
		return true
	})
	if _, err := r.Metadata(t.Context(), one); !errors.Is(err, registry.ErrMalformed) {
		t.Errorf("err = %v for another manifest than the digest's, want %v", err, registry.ErrMalformed)
	}
}

func TestParseImage(t *testing.T) {
	for address, want := range map[string]string{
		"alpine": "index.docker.io/library/alpine", "org/app": "index.docker.io/org/app", "ghcr.io/org/app": "ghcr.io/org/app",
		"localhost:5000/app": "localhost:5000/app", "docker.io/library/alpine": "index.docker.io/library/alpine",
	} {
		if got := image(t, address).String(); got != want {
			t.Errorf("%s is %s, want %s", address, got, want)
		}
	}
	for address, want := range map[string]string{
		"https://ghcr.io/org/app": "remove 'https://'", "ghcr.io/org/app:1.0": "remove ':1.0'", "": "", "UPPER/case": "", "ghcr.io/org/app@sha256:00": "", "../../etc": "",
	} {
		if _, err := registry.ParseImage(address); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: err = %v, want %q in it", address, err, want)
		}
	}
}

func TestDockerConfig(t *testing.T) {
	secret := map[string][]byte{".dockerconfigjson": []byte(`{"auths":{
		"https://index.docker.io/v1/":{"auth":"aHViOnB3"},
		"ghcr.io":{"username":"gh","password":"pw"},
		"ghcr.io/org/team":{"username":"team","password":"pw"},
		"*.example.com":{"username":"star","password":"pw"},
		"id.io":{"identitytoken":"it"},
		"bad.io":{"auth":"%%%"},
		"empty.io":{}}}`)}
	config, err := registry.DockerConfigFromSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"alpine": "hub", "ghcr.io/org/app": "gh", "ghcr.io/org/team/app": "team", "ghcr.io/org/teams": "gh", "a.example.com/xy": "star", "other.io/xy": "", "empty.io/xy": "", "id.io/xy": "",
	} {
		found, err := config.Find(image(t, address))
		if err != nil {
			t.Fatal(err)
		}
		var login registry.Login
		if found != nil {
			login, _ = found.Login(t.Context())
		}
		if login.Username != want || address == "id.io/xy" && login.IdentityToken != "it" {
			t.Errorf("%s gets the login of %q, want %q", address, login.Username, want)
		}
	}
	if _, err := config.Find(image(t, "bad.io/xy")); err == nil || strings.Contains(err.Error(), "%%%") {
		t.Errorf("err = %v, want one without the value", err)
	}
	for _, data := range []map[string][]byte{nil, {".dockerconfigjson": []byte("hunter2")}, {".dockercfg": []byte("hunter2")}} {
		if _, err := registry.DockerConfigFromSecret(data); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("err = %v", err)
		}
	}
}

// Where reading a manifest counts as a pull, a tag is asked for its digest alone; elsewhere its manifest comes with the answer.
func TestTagged(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	want := s.Push(t, "app", "1", registrytest.Image{Created: time.Now()})
	r := client(t, &budget{}).Repository(image(t, s.Host()+"/app"), registry.Access{})
	m, err := r.Tagged(t.Context(), "1")
	if err != nil || m.Digest != want || m.IsUnread() {
		t.Fatalf("tag 1 is %+v, %v; want more than digest %s", m, err, want)
	}
	if err := r.Complete(t.Context(), m); err != nil || m.Created.IsZero() || len(s.Requests()) != 2 {
		t.Errorf("%+v after %d requests, %v", m, len(s.Requests()), err)
	}
	s.SetFault(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Docker-Content-Digest", want)
		_, _ = w.Write([]byte(`{"config":{}}`))
		return true
	})
	if _, err := r.Tagged(t.Context(), "1"); !errors.Is(err, registry.ErrMalformed) {
		t.Errorf("err = %v for another manifest than the digest's, want %v", err, registry.ErrMalformed)
	}
}

package pullrequest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/libs/plain"
)

func client(t *testing.T, c Config) *Client {
	t.Helper()
	made, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// The life of a request, the same on all hosts.
func TestLife(t *testing.T) {
	for kind, k := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			host, config := start(t, kind)
			c, ctx := client(t, config), t.Context()
			draft := Draft{Head: "sluice/web", Base: "main", Group: "ns/auto web", Title: "Update web\nto v2", Body: strings.Repeat("- a: b\n", 200) + "/merge\n"}
			made, err := c.Create(ctx, draft)
			if err != nil {
				t.Fatal(err)
			}
			if made.ID != 1 || made.State != Open || made.Head != draft.Head || made.Base != "main" || made.Group != GroupID(draft.Group) || made.URL == "" || made.Commit != "abc" {
				t.Errorf("%+v", made)
			}
			there := host.pulls[0]
			if there.title != "Update web to v2" || strings.Contains(there.body, "\n/merge") {
				t.Errorf("%+v", there)
			}
			labels, reviewers := []string{"images"}, []string{"ann"}
			if err := c.Label(ctx, 1, labels); k.labels != (err == nil) || !k.labels && !errors.Is(err, ErrUnsupported) {
				t.Errorf("labels: %v", err)
			}
			if err := c.Ask(ctx, 1, reviewers); err != nil || !slices.Equal(there.reviewers, reviewers) || k.labels && !slices.Equal(there.labels, labels) {
				t.Errorf("%+v %v", there, err)
			}
			if _, err := c.Create(ctx, draft); !errors.Is(err, ErrExists) {
				t.Errorf("second request: %v", err)
			}
			same := draft
			same.Head = "same"
			if _, err := c.Create(ctx, same); !errors.Is(err, ErrNoDifference) {
				t.Errorf("no difference: %v", err)
			}
			for name, find := range map[string]func() ([]Request, error){
				"branch": func() ([]Request, error) { return c.ByBranch(ctx, draft.Head) },
				"group":  func() ([]Request, error) { return c.ByGroup(ctx, draft.Group) },
			} {
				if found, err := find(); err != nil || len(found) != 1 || found[0].ID != 1 || found[0].Group != GroupID(draft.Group) {
					t.Errorf("by %s: %+v %v", name, found, err)
				}
			}
			if found, err := c.ByGroup(ctx, "other"); err != nil || len(found) != 0 {
				t.Errorf("another group: %+v %v", found, err)
			}
			draft.Title = "Update web to v3"
			if got, err := c.Update(ctx, 1, draft); err != nil || got.Title != draft.Title || !slices.Equal(there.reviewers, reviewers) {
				t.Errorf("update: %+v %v", got, err)
			}
			err = c.AutoMerge(ctx, 1)
			if k.auto && (err != nil || !there.auto) || !k.auto && !errors.Is(err, ErrUnsupported) {
				t.Errorf("auto merge: %v", err)
			}
			if err := c.Comment(ctx, 1, "replaced\n/close"); err != nil || len(there.comments) != 1 || strings.Contains(there.comments[0], "\n/close") {
				t.Errorf("comment: %v %q", err, there.comments)
			}
			if err := c.Close(ctx, 1); err != nil {
				t.Error(err)
			}
			if got, err := c.Get(ctx, 1); err != nil || got.State != Closed {
				t.Errorf("%+v %v", got, err)
			}
			if err := c.Close(ctx, 1); !errors.Is(err, ErrRefused) {
				t.Errorf("closing a closed one: %v", err)
			}
			if found, err := c.ByGroup(ctx, draft.Group); err != nil || len(found) != 0 {
				t.Errorf("closed ones are not open: %+v %v", found, err)
			}
			there.state = Merged
			if found, err := c.ByBranch(ctx, draft.Head); err != nil || len(found) != 1 || found[0].State != Merged {
				t.Errorf("merged: %+v %v", found, err)
			}
		})
	}
}

func TestManyPages(t *testing.T) {
	for kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			host, config := start(t, kind)
			for i := range 120 {
				host.open("t", mark(fmt.Sprint(i)), fmt.Sprintf("b%d", i), "main")
			}
			found, err := client(t, config).ByGroup(t.Context(), "0")
			if err != nil || len(found) != 1 || found[0].Head != "b0" {
				t.Errorf("%v %v", found, err)
			}
		})
	}
}

// answering is a host that gives one answer to all calls.
func answering(t *testing.T, kind Kind, h http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return client(t, Config{Kind: kind, Repository: server.URL + "/org/repo", API: server.URL, Token: "secret-token", Insecure: true})
}

func TestFailures(t *testing.T) {
	tests := []struct {
		name string
		code int
		body string
		want error
	}{
		{"credentials", 401, "{}", ErrUnauthorized},
		{"rights", 403, `{"message":"Resource not accessible"}`, ErrUnauthorized},
		{"not there", 404, "", ErrNotFound},
		{"broken", 502, "<html>", ErrUnavailable},
		{"refused", 422, `{"message":"base is invalid"}`, ErrRefused},
		{"not JSON", 200, "<html>sign in</html>", ErrUnavailable},
		{"endless", 200, strings.Repeat(" ", maxAnswer+2), ErrRefused},
	}
	for kind := range kinds {
		for _, tt := range tests {
			t.Run(string(kind)+" "+tt.name, func(t *testing.T) {
				c := answering(t, kind, func(w http.ResponseWriter, _ *http.Request) {
					w.WriteHeader(tt.code)
					_, _ = w.Write([]byte(tt.body))
				})
				_, err := c.Get(t.Context(), 1)
				if !errors.Is(err, tt.want) || strings.Contains(err.Error(), "secret-token") {
					t.Error(err)
				}
			})
		}
	}
}

func TestRateLimits(t *testing.T) {
	reset := time.Now().Add(10 * time.Minute).Truncate(time.Second)
	tests := []struct {
		name   string
		code   int
		header map[string]string
		wait   time.Duration
	}{
		{"429 with seconds", 429, map[string]string{"Retry-After": "30"}, 30 * time.Second},
		{"429 with a date", 429, map[string]string{"Retry-After": reset.UTC().Format(http.TimeFormat)}, 10 * time.Minute},
		{"403 of GitHub", 403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": fmt.Sprint(reset.Unix())}, 10 * time.Minute},
		{"503 with seconds", 503, map[string]string{"Retry-After": "5"}, 5 * time.Second},
		{"says nothing", 429, nil, time.Minute},
		{"says nonsense", 429, map[string]string{"Retry-After": "99999999999999999999"}, time.Minute},
		{"says years", 429, map[string]string{"RateLimit-Reset": "99999999999"}, time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := answering(t, GitHub, func(w http.ResponseWriter, _ *http.Request) {
				for k, v := range tt.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(tt.code)
			})
			var limit *RateLimitError
			if _, err := c.Get(t.Context(), 1); !errors.As(err, &limit) {
				t.Fatal(err)
			}
			if d := time.Until(limit.Until) - tt.wait; d < -5*time.Second || d > 5*time.Second {
				t.Errorf("wait %s, not %s", time.Until(limit.Until), tt.wait)
			}
		})
	}
}

func TestCredentialsStayWithTheHost(t *testing.T) {
	for kind := range kinds {
		other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			t.Errorf("%s: another host was called with %v", kind, r.Header)
		}))
		c := answering(t, kind, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		})
		if _, err := c.Get(t.Context(), 1); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", kind, err)
		}
		other.Close()
	}
}

func TestCancelled(t *testing.T) {
	c := answering(t, GitLab, func(http.ResponseWriter, *http.Request) {})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Get(ctx, 1); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
}

func TestAutoMergeOfWhatIsReady(t *testing.T) {
	merged := false
	c := answering(t, GitHub, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/graphql"):
			_, _ = w.Write([]byte(`{"errors":[{"message":"Pull request Pull request is in clean status"}]}`))
		case strings.HasSuffix(r.URL.Path, "/merge"):
			merged = r.Method == "PUT"
		default:
			_, _ = w.Write([]byte(`{"number":1,"state":"open","head":{"sha":"abc"}}`))
		}
	})
	if err := c.AutoMerge(t.Context(), 1); err != nil || !merged {
		t.Error(err, merged)
	}
}

func TestInvalidDrafts(t *testing.T) {
	c := answering(t, GitHub, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("the host was called: %s", r.URL) })
	good := Draft{Head: "a", Base: "b", Title: "t"}
	for name, change := range map[string]func(*Draft){
		"same branch": func(d *Draft) { d.Base = "a" }, "no title": func(d *Draft) { d.Title = " \n" }, "branch": func(d *Draft) { d.Head = "a b" },
	} {
		d := good
		change(&d)
		if _, err := c.Create(t.Context(), d); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestInvalidNames(t *testing.T) {
	c := answering(t, GitHub, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("the host was called: %s", r.URL) })
	for _, name := range []string{"", "a,b", "a\nb", "\u202ea", strings.Repeat("a", 101)} {
		if err := c.Label(t.Context(), 1, []string{name}); !errors.Is(err, ErrInvalid) {
			t.Errorf("label %q: %v", name, err)
		}
		if err := c.Ask(t.Context(), 1, []string{"ann", name}); !errors.Is(err, ErrInvalid) {
			t.Errorf("reviewer %q: %v", name, err)
		}
	}
}

func TestCheckBranch(t *testing.T) {
	for _, name := range []string{"main", "sluice/ns-app", "release-1.2", "ü"} {
		if err := CheckBranch(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "-x", "a..b", "a b", "a~1", "a:b", "+main", "refs/heads/x", "x.lock", "a/.b", "/a", "a/", "a//b", "@", "a@{1}", "HEAD", "a\"b", "a\x00", "a\nb", "a*", "x.", strings.Repeat("a", 300)} {
		if CheckBranch(name) == nil {
			t.Errorf("%q was accepted", name)
		}
	}
}

func TestInvalidConfig(t *testing.T) {
	good := Config{Kind: GitHub, Repository: "https://github.com/org/repo", Token: "t"}
	for name, change := range map[string]func(*Config){
		"kind": func(c *Config) { c.Kind = "cvs" }, "path": func(c *Config) { c.Repository = "https://github.com/org/../x" }, "depth": func(c *Config) { c.Repository = "https://github.com/repo" },
		"scheme": func(c *Config) { c.Repository = "file:///org/repo" }, "no token": func(c *Config) { c.Token = "" }, "plain": func(c *Config) { c.Repository = "http://github.com/org/repo" },
		"header": func(c *Config) { c.Token = "a\r\nX: y" }, "api": func(c *Config) { c.API = "https://u:p@x/" },
	} {
		c := good
		change(&c)
		if _, err := New(c); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for repository, base := range map[string]string{
		"https://github.com/org/repo.git": "https://api.github.com", "git@github.com:org/repo.git": "https://api.github.com",
		"ssh://git@ghe.example.com:2222/org/repo": "https://ghe.example.com/api/v3",
	} {
		c := good
		c.Repository = repository
		if got := client(t, c).driver.(*github).base.String(); got != base {
			t.Errorf("%s: %s", repository, got)
		}
	}
}

func TestAzureAddresses(t *testing.T) {
	for _, repository := range []string{"https://dev.azure.com/org/proj/_git/repo", "git@ssh.dev.azure.com:v3/org/proj/repo"} {
		a := client(t, Config{Kind: Azure, Repository: repository, Token: "t"}).driver.(*azure)
		if got := a.base.String() + a.path(); got != "https://dev.azure.com/org/proj/_apis/git/repositories/repo/pullrequests" {
			t.Error(got)
		}
	}
}

func TestEscape(t *testing.T) {
	hostile := "[x](javascript:alert(1)) <img src=x> @everyone #1 `code` **b**\n/close \u202e|"
	got := Escape(hostile)
	for _, bad := range []string{"[x](", "<img", "@", "#1", " `", "**b", "\n", "\u202e", " /close"} {
		if strings.Contains(got, bad) {
			t.Errorf("%q stands in %q", bad, got)
		}
	}
	if Escape("v1.2-3, ok") != "v1.2-3, ok" {
		t.Error(Escape("v1.2-3, ok"))
	}
}

func FuzzTexts(f *testing.F) {
	f.Add("a", "title", "body\n/merge")
	f.Fuzz(func(t *testing.T, group, title, text string) {
		got := body(Draft{Group: group, Body: text}, 4000)
		if groupOf(got) != GroupID(group) || len(got) > 4000 {
			t.Errorf("%q", got)
		}
		for _, line := range strings.Split(got, "\n") {
			if strings.HasPrefix(strings.TrimLeft(line, " \t>"), "/") {
				t.Errorf("a command: %q", line)
			}
		}
		if strings.ContainsAny(plain.Line(title, maxTitle), "\r\n\x00") {
			t.Errorf("title %q", plain.Line(title, maxTitle))
		}
	})
}

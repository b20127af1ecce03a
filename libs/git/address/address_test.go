package address_test

import (
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/libs/git/address"
)

func TestNormal(t *testing.T) {
	for in, want := range map[string]string{
		"https://github.com/org/app":               "github.com/org/app",
		"https://github.com/org/app.git":           "github.com/org/app",
		"https://GitHub.com/org/app.git/":          "github.com/org/app",
		"https://user:secret@github.com/org/app":   "github.com/org/app",
		"http://github.com:8080/org/app":           "github.com/org/app",
		"ssh://git@github.com:22/org/app.git":      "github.com/org/app",
		"git@github.com:org/app.git":               "github.com/org/app",
		"github.com:org/app":                       "github.com/org/app",
		"https://github.com/Org/App":               "github.com/org/app",
		"HTTPS://GITHUB.COM/ORG/APP.GIT":           "github.com/org/app",
		"https://gitlab.com/a/b/c.git":             "gitlab.com/a/b/c",
		"https://host/a%20b/c":                     "host/a b/c",
		"https://host.:443/a":                      "host/a",
		"https://[::1]:8443/a.git":                 "::1/a",
		"https://host/a.github":                    "host/a.github",
		"https://dev.azure.com/org/project/_git/a": "dev.azure.com/org/project/_git/a",
	} {
		if got, err := address.Normal(in); err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestNormalRefuses(t *testing.T) {
	for _, in := range []string{
		"", "/", "app", "https://", "https://github.com", "https://github.com/", "https://github.com/.git", "file:///etc/passwd", "/srv/git/app", "https://host/a b",
		"https://host/a\nb", "ext::sh -c true", "https://%zz/a", ":a", "https:///a", "http://./0", strings.Repeat("a", 3000) + ":b",
	} {
		if got, err := address.Normal(in); err == nil {
			t.Errorf("%q: got %q; want an error", in, got)
		}
	}
	if _, err := address.Normal("https://user:secret@%zz/a"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("the error tells the password: %v", err)
	}
}

// What is in a normal form stays, and never means another repository by being an expression.
func FuzzNormal(f *testing.F) {
	f.Add("https://user@github.com:443/org/app.git")
	f.Add("git@github.com:org/app")
	f.Fuzz(func(t *testing.T, in string) {
		normal, err := address.Normal(in)
		if err != nil {
			return
		}
		host, path, found := strings.Cut(normal, "/")
		if !found || host == "" || path == "" {
			t.Errorf("%q: %q", in, normal)
		}
	})
}

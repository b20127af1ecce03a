package git

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/libs/gittest"
)

// A server that names another place to log in at is not obeyed: credentials go to the repository's host alone, as they are.
func TestChallengesLeadNowhere(t *testing.T) {
	var asked atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer elsewhere.Close()
	for _, challenge := range []string{
		`Bearer realm="` + elsewhere.URL + `/token",service="git"`, `Basic realm="` + elsewhere.URL + `"`, `Negotiate`, `NTLM`,
		`Digest realm="x", nonce="y", domain="` + elsewhere.URL + `"`,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", challenge)
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(http.StatusUnauthorized)
		}))
		w := &world{T: t, dir: t.TempDir()}
		w.mirrors = w.open(Limits{})
		for _, data := range []map[string][]byte{nil, secretData("username", "jane", "password", secret), secretData("bearerToken", secret)} {
			wantRefused(t, w.try(server.URL+"/x", data), "401")
		}
		server.Close()
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("the other host was asked %d times", n)
	}
}

// One small file of rules in many directories stands for gigabytes of rules.
func TestIgnoreBombs(t *testing.T) {
	many := map[string]string{}
	for i := range 30 {
		many[fmt.Sprintf("d%d/.sourceignore", i)] = strings.Repeat("# much ado\n", 4000)
	}
	for name, files := range map[string]map[string]string{
		"one large file":  {".sourceignore": strings.Repeat("# nothing\n", 200_000)},
		"many files":      many,
		"many rules":      {".sourceignore": strings.Repeat("a\n", maxIgnoreRules+1)},
		"an endless line": {".sourceignore": strings.Repeat("a", 1+maxIgnoreLine) + "\nsecret\n"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			w.commit(gittest.Commit{Files: files})
			_, err := w.tryFiles(t.Context(), w.source(Ref{Branch: "main"}), Selection{})
			wantError(t, err, ErrTooLarge, ".sourceignore")
		})
	}
	t.Run("spec", func(t *testing.T) {
		w := newWorld(t, gittest.Options{})
		w.write("a", "1")
		text := strings.Repeat("a\n", maxIgnoreRules+1)
		_, err := w.tryFiles(t.Context(), w.source(Ref{Branch: "main"}), Selection{Ignore: &text})
		wantError(t, err, ErrTooLarge, "spec.ignore")
	})
}

// Many rules for many paths take long, but not longer than the run may.
func TestIgnoringEndsWithItsContext(t *testing.T) {
	found := make([]content, 100_000)
	for i := range found {
		found[i].path = fmt.Sprintf("dir/file-%d", i)
	}
	text := strings.Repeat("**/*x*y*z\n", maxIgnoreRules)
	ignored, err := ignoreRules(t.Context(), found, &text)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	started := time.Now()
	if _, err := chosen(ctx, found, ignored, Limits{}.orDefault()); !errors.Is(err, context.DeadlineExceeded) || time.Since(started) > 10*time.Second {
		t.Errorf("after %s: %v", time.Since(started), err)
	}
}

// Names that would be .git on some file system, or mean something to some program, are names like others: nothing is ever checked out.
func TestOddNamesAreContent(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	names := []string{"git~1/config", ".git ./config", ".g\u200cit/config", ".git::$INDEX_ALLOCATION/config", "-rf", "--upload-pack=x", "$(id)", "a\nb", "con", "sub/.Gitmodules"}
	var files []string
	for _, name := range names {
		files = append(files, name, "harmless")
	}
	w.write(files...)
	got := w.files(w.fetch(Ref{Branch: "main"}), Selection{})
	for _, name := range names {
		if got[name] != "harmless" {
			t.Errorf("%q is %q", name, got[name])
		}
	}
}

// Rules are text of a stranger, too.
func FuzzIgnoreRules(f *testing.F) {
	f.Add("*.md\n!a/\n", "/deploy/**/x\n", "a/b/c.md")
	f.Add("**\n[\n", "\\", "a")
	f.Add("/\n!\n!/\n//\n**/\n", " \n\\ \n", "a/b")
	f.Fuzz(func(t *testing.T, file, spec, path string) {
		found := []content{{path: "a/.sourceignore", read: func(_ context.Context, limit int64) ([]byte, error) { return []byte(file), nil }}, {path: path}}
		ignored, err := ignoreRules(t.Context(), found, &spec)
		if err != nil {
			if !errors.Is(err, ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		if outside := "b/c"; file != "" && spec == "" && ignored(outside) {
			t.Fatalf("a rule of directory a ignores %q", outside)
		}
		ignored(path)
	})
}

// An address is taken as it is, or not at all, and its refusal does not repeat it.
func FuzzURL(f *testing.F) {
	for _, seed := range []string{"https://example.com/x", "ssh://git@example.com:22/x", "ssh://-oProxyCommand=x/y", "http://a:b@c/d", "git@github.com:a/b", "https://[::1]:8080/a%00b", "ssh://a@b@c/d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := parseURL(text)
		if err != nil {
			if !errors.Is(err, ErrURLInvalid) || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		_, password := u.User.Password()
		if password || u.Scheme != "ssh" && u.User != nil || u.Hostname() == "" || strings.ContainsAny(u.Path, "\x00\n\r") {
			t.Fatalf("%q was let through", text)
		}
		for _, word := range []string{u.Hostname(), u.User.Username(), strings.TrimLeft(u.Path, "/")} {
			if strings.HasPrefix(word, "-") {
				t.Fatalf("%q has the option %q", text, word)
			}
		}
		if shown := display(u); strings.Contains(shown, "@") && !strings.Contains(u.Path+u.Host, "@") && u.User != nil {
			t.Fatalf("%q is shown as %q", text, shown)
		}
	})
}

package remote

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/render"
)

func TestParse(t *testing.T) {
	repo := func(url, ref, path string) *repository {
		return &repository{url: url, ref: ref, path: path, submodules: true, timeout: defaultTimeout}
	}
	for text, want := range map[string]struct {
		file       bool
		repository *repository
	}{
		"https://github.com/org/repo//path/to?ref=v1":        {false, repo("https://github.com/org/repo", "v1", "path/to")},
		"https://github.com/org/repo/path/to?ref=v1":         {true, repo("https://github.com/org/repo", "v1", "path/to")},
		"github.com/org/repo":                                {false, repo("https://github.com/org/repo", "", ".")},
		"GitHub.com:org/repo.git?version=x":                  {false, repo("https://github.com/org/repo.git", "x", ".")},
		"git::https://example.org/a/b/c":                     {false, repo("https://example.org/a/b", "", "c")},
		"https://example.org/a/b/c.git/d/e":                  {false, repo("https://example.org/a/b/c.git", "", "d/e")},
		"https://me@dev.azure.com/org/project/_git/repo/dir": {false, repo("https://dev.azure.com/org/project/_git/repo", "", "dir")},
		"https://gitlab.example.org:8443/a/b/c//d?ref=main":  {false, repo("https://gitlab.example.org:8443/a/b/c", "main", "d")},
		"https://raw.example.org/org/repo/main/app.yaml":     {true, repo("https://raw.example.org/org/repo", "", "main/app.yaml")},
		"https://example.org/app.yaml":                       {true, nil},
		"https://my.github.io/org/repo/app.yaml":             {true, repo("https://my.github.io/org/repo", "", "app.yaml")},
	} {
		got, err := parse(render.Address{Text: text})
		if err != nil || (got.file != nil) != want.file {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		if d := cmp.Diff(want.repository, got.repository, cmp.AllowUnexported(repository{})); d != "" {
			t.Errorf("%s: %s", text, d)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"https://user:secret@example.org/org/repo": "credentials", "https://user:secret@example.org/a.yaml": "credentials", "https://secret@example.org/a.yaml": "credentials",
		"git@github.com:org/repo": "needs a key", "ssh://git@example.org/org/repo": "needs a key", "git::ssh://example.org/org/repo": "needs a key",
		"me@example.org/org/repo": "needs a key", "file:///etc": "cannot be understood", "http:example.org": "cannot be understood",
		"https://example.org/org/repo//../../x": "leads out", "https://example.org/org/repo.git/../../../x": "leads out", "git::": "cannot be understood",
		"https:///org/repo": "cannot be understood", "git::-u/x/y": "cannot be understood", "https://example.org/" + strings.Repeat("x", maxAddress): "more than",
	} {
		_, err := parse(render.Address{Text: text})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := parse(render.Address{Text: "git@github.com:org/repo", Form: render.OnlyFile}); err == nil {
		t.Error("a repository is taken for a file")
	}
}

func TestOptions(t *testing.T) {
	for query, want := range map[string]repository{
		"": {submodules: true, timeout: defaultTimeout}, "timeout=5": {submodules: true, timeout: 5 * time.Second},
		"timeout=2m": {submodules: true, timeout: longestTimeout}, "timeout=99999999999999": {submodules: true, timeout: longestTimeout},
		"timeout=-1s&submodules=0": {timeout: defaultTimeout}, "ref=a&version=b": {ref: "a", submodules: true, timeout: defaultTimeout},
		"ref=%zz": {submodules: true, timeout: defaultTimeout}, "submodules=maybe": {submodules: true, timeout: defaultTimeout},
	} {
		got := repository{}
		got.options(query)
		if got != want {
			t.Errorf("%s: %+v", query, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"https://github.com/org/repo//path?ref=x", "git@github.com:org/repo", "git::http://h/_git/x", "https://u:p@h/a//b//c?timeout=1"} {
		f.Add(text, 0)
	}
	f.Fuzz(func(t *testing.T, text string, form int) {
		got, err := parse(render.Address{Text: text, Form: render.Form(form)})
		if err != nil {
			return
		}
		if got.file == nil && got.repository == nil {
			t.Fatal("it means nothing")
		}
		if r := got.repository; r != nil {
			if r.path == ".." || strings.HasPrefix(r.path, "../") || strings.HasPrefix(r.path, "/") || r.timeout <= 0 || r.timeout > longestTimeout {
				t.Fatalf("%+v", r)
			}
		}
	})
}

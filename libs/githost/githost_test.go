package githost_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/libs/githost"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		kind                      githost.Kind
		address, owner, name, api string
	}{
		{githost.GitHub, "https://github.com/org/repo.git", "org", "repo", "https://api.github.com"},
		{githost.GitHub, "ssh://git@ssh.github.com:443/org/repo", "org", "repo", "https://api.github.com"},
		{githost.GitHub, "git@github.com:org/repo.git", "org", "repo", "https://api.github.com"},
		{githost.GitHub, "https://github.example.com:8443/org/repo/", "org", "repo", "https://github.example.com:8443/api/v3"},
		{githost.GitHub, "https://octo.ghe.com/org/repo", "org", "repo", "https://api.octo.ghe.com"},
		{githost.GitHub, "https://notghe.com/org/repo", "org", "repo", "https://notghe.com/api/v3"},
		{githost.GitLab, "https://gitlab.com/group/sub/repo", "group/sub", "repo", "https://gitlab.com/api/v4"},
		{githost.GitLab, "https://gitlab.example.com/1234", "", "1234", "https://gitlab.example.com/api/v4"},
		{githost.GitLab, "git@altssh.gitlab.com:group/repo", "group", "repo", "https://gitlab.com/api/v4"},
		{githost.Gitea, "http://gitea.example.com:3000/org/repo", "org", "repo", "http://gitea.example.com:3000/api/v1"},
		{githost.Bitbucket, "https://bitbucket.org/org/repo", "org", "repo", "https://api.bitbucket.org/2.0"},
		{githost.BitbucketServer, "https://bb.example.com/ctx/scm/~user/repo.git", "ctx/scm/~user", "repo", "https://bb.example.com"},
		{githost.Azure, "git@ssh.dev.azure.com:v3/org/my project/repo", "v3/org/my project", "repo", "https://dev.azure.com"},
	} {
		got, err := githost.Parse(test.kind, test.address)
		if err != nil {
			t.Errorf("%s: %v", test.address, err)
			continue
		}
		if got.Owner() != test.owner || got.Name() != test.name || got.API(test.kind).String() != test.api {
			t.Errorf("%s: %q %q %s", test.address, got.Owner(), got.Name(), got.API(test.kind))
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for address, kind := range map[string]githost.Kind{
		"": githost.GitHub, "https://github.com": githost.GitHub, "https://github.com/a": githost.GitHub, "https://github.com/a/b/c": githost.GitHub,
		"https://gitlab.com/a": githost.GitLab, "file:///a/b": githost.GitHub, "ftp://x/a/b": githost.GitHub, "https://x/a/..": githost.Gitea,
		"https://x/a/b%2fc%3f": githost.Gitea, "https://x/../b": githost.Gitea, "https://x/a/b\n": githost.Gitea, "https://x/a/b": "svn",
		"https://user:hunter2@/a/b": githost.GitHub, "hunter2://x/a/b": githost.GitHub, "https://x/-a/b": githost.GitHub,
	} {
		if _, err := githost.Parse(kind, address); err == nil || strings.Contains(address, ":hunter2@") && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestAzure(t *testing.T) {
	for address, want := range map[string][]string{
		"https://dev.azure.com/org/proj/_git/repo":             {"org", "proj", "repo"},
		"https://dev.azure.com/org/_git/repo":                  {"org", "repo", "repo"},
		"https://org.visualstudio.com/proj/_git/repo":          {"proj", "repo"},
		"git@ssh.dev.azure.com:v3/org/proj/repo":               {"org", "proj", "repo"},
		"https://tfs.example.com/tfs/Default/my app/_git/repo": {"tfs", "Default", "my app", "repo"},
	} {
		r, err := githost.Parse(githost.Azure, address)
		if err != nil {
			t.Fatal(err)
		}
		project, name, err := r.Azure()
		if err != nil || !slices.Equal(append(project, name), want) {
			t.Errorf("%s: %q %q %v", address, project, name, err)
		}
	}
	r, err := githost.Parse(githost.Azure, "https://org.visualstudio.com/_git/repo")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Azure(); err == nil {
		t.Error("an address without a project is taken")
	}
}

func TestLimit(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, test := range map[string]struct {
		code    int
		header  map[string]string
		message string
		want    time.Duration // -1 for none
	}{
		"too many":             {code: 429, want: time.Minute},
		"seconds":              {code: 429, header: map[string]string{"Retry-After": "7"}, want: 7 * time.Second},
		"date":                 {code: 503, header: map[string]string{"Retry-After": "Fri, 02 Jan 2026 03:05:05 GMT"}, want: time.Minute},
		"GitHub, used up":      {code: 403, header: map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1767323345"}, want: 300 * time.Second},
		"GitHub, secondary":    {code: 403, message: "You have exceeded a secondary rate limit.", want: time.Minute},
		"GitLab, seconds left": {code: 429, header: map[string]string{"RateLimit-Reset": "30"}, want: 30 * time.Second},
		"a year":               {code: 429, header: map[string]string{"Retry-After": "31536000"}, want: time.Hour},
		"in the past":          {code: 429, header: map[string]string{"Retry-After": "Fri, 02 Jan 2015 03:05:05 GMT"}, want: time.Minute},
		"no number":            {code: 429, header: map[string]string{"Retry-After": "soon"}, want: time.Minute},
		"no right":             {code: 403, header: map[string]string{"X-RateLimit-Remaining": "10"}, message: "Resource not accessible", want: -1},
		"down":                 {code: 503, want: -1},
	} {
		answer := &http.Response{StatusCode: test.code, Header: http.Header{}}
		for k, v := range test.header {
			answer.Header.Set(k, v)
		}
		until, limited := githost.Limit(answer, test.message, now)
		if limited != (test.want >= 0) || limited && until.Sub(now) != test.want {
			t.Errorf("%s: %v %v", name, limited, until.Sub(now))
		}
	}
}

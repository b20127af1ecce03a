package content

import (
	"strings"
	"testing"
)

// TestLinks: pages are linked on the hosts that are known, by https where the clone is not by http, without logins; and nowhere else.
func TestLinks(t *testing.T) {
	const old, next = "main@sha1:1111111111111111111111111111111111111111", "main@sha1:2222222222222222222222222222222222222222"
	o, n := old[len("main@sha1:"):], next[len("main@sha1:"):]
	for repository, want := range map[string]string{
		"https://github.com/team/repo.git":                     "https://github.com/team/repo/commit/" + n + " https://github.com/team/repo/compare/" + o + "..." + n,
		"ssh://git@github.com/team/repo":                       "https://github.com/team/repo/commit/" + n + " https://github.com/team/repo/compare/" + o + "..." + n,
		"ssh://git@gitlab.example.com:2222/group/sub/repo.git": "https://gitlab.example.com/group/sub/repo/-/commit/" + n + " https://gitlab.example.com/group/sub/repo/-/compare/" + o + "..." + n,
		"https://user:pass@bitbucket.org/team/repo?token=x":    "https://bitbucket.org/team/repo/commits/" + n + " https://bitbucket.org/team/repo/branches/compare/" + n + "%0D" + o,
		"ssh://git@ssh.dev.azure.com/v3/org/project/repo":      "https://dev.azure.com/org/project/_git/repo/commit/" + n,
		"https://git.example.com/team/repo.git":                "",
		"javascript://github.com/team/repo":                    "",
		"file:///etc/passwd":                                   "",
		"https://notgithub.com/team/repo":                      "",
		"https://github.com/../../evil":                        "",
	} {
		var got []string
		for _, l := range Links(repository, old, next) {
			got = append(got, l.URL)
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s: %s; want %s", repository, text, want)
		}
	}
	if got := Links("https://github.com/team/repo", "", "main@sha1:$(reboot)"); got != nil {
		t.Errorf("a hash that is none: %v", got)
	}
	if got := Links("https://github.com/team/repo", next, next); len(got) != 1 {
		t.Errorf("no other commit to compare with: %v", got)
	}
}

package provider

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func dialects() map[string]markup {
	return map[string]markup{
		"html": htmlMarkup, "telegram": telegramMarkup, "plain": plainMarkup, "zulip": zulipMarkup, "webex": webexMarkup, "discord": discordMarkup, "attachment": plainMarkdown,
	}
}

func TestComposeFitsAndCounts(t *testing.T) {
	for name, m := range dialects() {
		for _, limit := range []int{300, 1000, 4096, 30_000} {
			text := compose(bigMessage().Content, m, limit)
			if m.size(text) > limit || limit > 1000 && !strings.Contains(text, "commit") {
				t.Errorf("%s: %d of %d: %.300s", name, m.size(text), limit, text)
			}
			shown := strings.Count(text, "applied in")
			if limit < 30_000 && shown == 200 || shown == 0 && limit > 1000 {
				t.Errorf("%s at %d: %d rows", name, limit, shown)
			}
		}
	}
	text := compose(bigMessage().Content, plainMarkup, 100_000)
	if !strings.Contains(text, "… and 50 more") || strings.Count(text, "\n✅ ") != 150 {
		t.Errorf("%.500s", text)
	}
}

func TestComposeShowsAll(t *testing.T) {
	want := strings.Join([]string{
		"**❌ Kustomization/apps/web failed**", "Deployment/apps/web is not ready", "image cannot be pulled", "**revision:** main@sha1\\:731f7ead", "**cluster:** prod",
		"❌ **Kustomization/apps/web** – not ready", "⏳ **Kustomization/apps/api**", "[commit](https://git.example.com/team/apps/commit/731f7eaddfb6af01cb2173e18f0f75b0ba780ef1)",
	}, "\n")
	m := discordMarkup
	if got := compose(sampleMessage().Content, m, 4096); got != want {
		t.Errorf("%s", got)
	}
}

func TestLinks(t *testing.T) {
	for address, want := range map[string]string{
		"https://git.example.com/a/b/compare/x...y": "https://git.example.com/a/b/compare/x...y", "http://h/p?q=1&r=(2)#f": "http://h/p?q=1&r=%282%29#f",
		"https://h/a|b`<c>'\"*\\": "https://h/a%7Cb%60%3Cc%3E%27%22%2A%5C", " https://h/ ": "https://h/",
		"javascript:alert(1)": "", "data:text/html,x": "", "//h/x": "", "https:///x": "", "https://u:p@h/": "", "ftp://h/": "", "mailto:a@b": "", "https://h/" + strings.Repeat("x", maxURL): "", "https://h/?a b": "",
	} {
		got, ok := Link{Text: "x", URL: address}.safe()
		if ok != (want != "") || ok && got.URL != want {
			t.Errorf("%.60s: %q %v", address, got.URL, ok)
		}
	}
}

func FuzzCompose(f *testing.F) {
	f.Add(hostileText, 500)
	f.Add("a\xff@b\u202e\n```", 40)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		if limit < 40 || limit > 1<<16 {
			t.Skip()
		}
		c := Content{State: State(s), Title: s, Text: s, Fields: []Field{{s, s}}, Rows: []Row{{s, Failed, s}}, RowsMore: limit, Links: []Link{{s, s}, {s, "https://h/" + s}}}
		for name, m := range dialects() {
			text := compose(c, m, limit)
			if m.size(text) > limit || !utf8.ValidString(text) {
				t.Errorf("%s: %d of %d, %q", name, m.size(text), limit, text)
			}
			body, _, _ := strings.Cut(text, "https://h/") // addresses have theirs
			for i, r := range body {
				if r == '@' && !strings.HasPrefix(body[i:], "@\u200b") {
					t.Errorf("%s: %q", name, body)
				}
			}
		}
	})
}

// TestRevisionsCanBeCopied: an @ within a revision or an image is one that shells and registries know; in all else nobody is called.
func TestRevisionsCanBeCopied(t *testing.T) {
	for text, plain := range map[string]bool{
		"main@sha1:b5bd7bf000": true, "main@b5bd7bf": true, "ghcr.io/team/web@sha256:0123456789ab": true, "main@b5bd7bf: 3 succeeded": true,
		"a@everyone": false, "@b5bd7bf": false, " @sha1:b5bd7bf": false, "a@abcdefghi": false, "x@deadbeefcafe": false, "<@U123>": false,
	} {
		if got := verbatim.line(text, 100); (got == text) != plain {
			t.Errorf("%s: %q", text, got)
		}
	}
}

package provider

import (
	"context"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
)

// TestRealGitea runs against a Gitea or Forgejo server: SLUICE_TEST_GITEA is the address of a repository with a pull request 1 from a branch
// of the same repository, SLUICE_TEST_GITEA_TOKEN may write to it.
func TestRealGitea(t *testing.T) {
	address, token := os.Getenv("SLUICE_TEST_GITEA"), os.Getenv("SLUICE_TEST_GITEA_TOKEN")
	if address == "" {
		t.Skip("SLUICE_TEST_GITEA names no repository")
	}
	make := func(kind string) Sender {
		s := at(settings(kind, "", "token", token), address)
		s.AllowPrivate = true
		made, _, err := New(s)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	sender := make(notifyv1.GiteaProvider)
	g := sender.(*statuses).host.(giteaStatuses)
	var pull struct {
		Head struct{ SHA string }
	}
	if err := g.call(t.Context(), "GET", g.path("pulls", 1), nil, nil, &pull); err != nil {
		t.Fatal(err)
	}
	m := sampleMessage()
	m.Status.Commit, m.Status.Context = pull.Head.SHA, "kustomization/web/"+t.Name()+strconv.Itoa(os.Getpid())
	count := func() int {
		var all []struct{ Context string }
		if err := g.call(t.Context(), "GET", g.path("commits", pull.Head.SHA, "statuses"), params("limit", "50"), nil, &all); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, s := range all {
			if s.Context == m.Status.Context {
				n++
			}
		}
		return n
	}
	for i, step := range []struct {
		state State
		count int
	}{{Progressing, 1}, {Progressing, 1}, {Succeeded, 2}, {Succeeded, 2}, {Failed, 3}, {Progressing, 4}, {Succeeded, 5}} {
		m.Status.State = step.state
		if _, err := sender.Send(t.Context(), m); err != nil || count() != step.count {
			t.Fatalf("step %d: %v, %d statuses", i, err, count())
		}
		if known, err := g.last(t.Context(), pull.Head.SHA, m.Status.Context); err != nil || known.state != g.state(step.state) {
			t.Errorf("step %d: %+v %v", i, known, err)
		}
	}
	hostile := hostileMessage(1 << 20)
	hostile.Status.Commit = pull.Head.SHA
	for range 2 {
		if _, err := sender.Send(t.Context(), hostile); err != nil {
			t.Errorf("hostile: %v", err)
		}
	}
	realGiteaComments(t, toRequestOne{make(notifyv1.GiteaPullRequestCommentProvider)}, g)
}

type toRequestOne struct{ Sender }

func (r toRequestOne) Send(ctx context.Context, m Message) (Receipt, error) {
	m.Event.Metadata = map[string]string{"change_request": "1", "revision": "main@sha1:" + commit}
	return r.Sender.Send(ctx, m)
}

func realGiteaComments(t *testing.T, sender Sender, g giteaStatuses) {
	bodies := func(part string) (found []string) {
		var all []giteaComment
		if err := g.call(t.Context(), "GET", g.path("issues", 1, "comments"), nil, nil, &all); err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			if strings.Contains(c.Body, part) {
				found = append(found, c.Body)
			}
		}
		return found
	}
	m := sampleMessage()
	m.Content.Rows, m.Event.InvolvedObject.Name = nil, "web"+strconv.Itoa(os.Getpid())
	for _, title := range []string{"failed", "well again"} {
		m.Content.Title = title
		if _, err := sender.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if found := bodies("/" + m.Event.InvolvedObject.Name + " -->"); len(found) != 1 || !strings.Contains(found[0], title) {
			t.Errorf("%s: %d comments", title, len(found))
		}
	}
	hostile := hostileMessage(0)
	hostile.Content.Text += "\n/close\n``````\n@me #1 !1"
	hostile.Event.InvolvedObject.Name, hostile.Incident = "@me #1", "incident"+strconv.Itoa(os.Getpid())
	if _, err := sender.Send(t.Context(), hostile); err != nil {
		t.Errorf("hostile: %v", err)
	}
	shown := render(t, g, bodies("/" + hostile.Incident + " -->")[0])
	for _, bad := range []string{`class="mention`, "ref-issue", "<script", `href="javascript`, "flux-pr-comment-key", "<at "} {
		if at := strings.Index(shown, bad); at >= 0 {
			t.Errorf("%q is shown: %s", bad, shown[max(0, at-200):min(len(shown), at+200)])
		}
	}
	if !strings.Contains(shown, "&lt;script&gt;") || !strings.Contains(shown, "<table>") || !strings.Contains(shown, "/close") {
		t.Errorf("%.3000s", shown)
	}
}

// render is the HTML that the server makes of a comment.
func render(t *testing.T, g giteaStatuses, text string) string {
	t.Helper()
	u, err := url.Parse(g.base + "/markdown")
	if err != nil {
		t.Fatal(err)
	}
	header, err := g.authorize(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a, err := g.client.ask(t.Context(), query{URL: u, Header: header, Most: maxForgeAnswer, JSON: map[string]any{"Text": text, "Mode": "comment", "Context": strings.Join(g.repository.Path, "/"), "Wiki": false}})
	if err != nil {
		t.Fatal(err)
	}
	return string(a.Body)
}

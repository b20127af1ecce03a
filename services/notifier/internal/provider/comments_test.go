package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"

	"github.com/sluice-cd/sluice/libs/git/identity"
)

// A comment that a host has.
type commentThere struct {
	id, author int
	app        int // of the App in whose name it was written; 0 for none
	body       string
}

// commentService is a git host as far as comments at request 12 go.
type commentService struct {
	kind, path string
	marker     string
	user       string // path
	list       string
	one        string // of a comment, with {id}
	method     string // that edits
	pages      bool
	author     string // how a comment names its author
	token      string // header
	all        []commentThere
	me, app    int
	longest    int
}

func commentServices() []*commentService {
	return []*commentService{
		{kind: notifyv1.GitHubPullRequestCommentProvider, path: "/org/repo", marker: "flux-pr-comment-key", user: "/api/v3/user", list: "/api/v3/repos/org/repo/issues/12/comments",
			one: "/api/v3/repos/org/repo/issues/comments/{id}", method: "PATCH", pages: true, author: "user", token: "Authorization", me: 7, longest: 65536},
		{kind: notifyv1.GiteaPullRequestCommentProvider, path: "/org/repo", marker: "flux-pr-comment-key", user: "/api/v1/user", list: "/api/v1/repos/org/repo/issues/12/comments",
			one: "/api/v1/repos/org/repo/issues/comments/{id}", method: "PATCH", author: "user", token: "Authorization", me: 7, longest: 65536},
		{kind: notifyv1.GitLabMergeRequestCommentProvider, path: "/group/repo", marker: "flux-mr-comment-key", user: "/api/v4/user", list: "/api/v4/projects/group%2Frepo/merge_requests/12/notes",
			one: "/api/v4/projects/group%2Frepo/merge_requests/12/notes/{id}", method: "PUT", pages: true, author: "author", token: "Private-Token", me: 7, longest: 1_000_000},
	}
}

func (s *commentService) check(c call) (string, error) {
	if !strings.HasSuffix(c.Header.Get(s.token), secretToken) {
		return "", errors.New("not authorized")
	}
	path := c.URL.EscapedPath()
	switch {
	case c.Method == "GET" && path == s.user:
		return fmt.Sprintf(`{"id":%d,"login":"bot"}`, s.me), nil
	case c.Method == "GET" && path == s.list:
		return s.page(c), nil
	case c.Method == "POST" && path == s.list:
		body, err := s.body(c)
		s.all = append(s.all, commentThere{100 + len(s.all), s.me, s.app, body})
		return s.json(s.all[len(s.all)-1]), err
	case c.Method == s.method:
		for i, there := range s.all {
			if path == strings.ReplaceAll(s.one, "{id}", fmt.Sprint(there.id)) {
				body, err := s.body(c)
				s.all[i].body = body
				return s.json(s.all[i]), err
			}
		}
	}
	return "", fmt.Errorf("%s %s is asked for", c.Method, path)
}

func (s *commentService) body(c call) (string, error) {
	var in struct{ Body string }
	err := c.into(&in)
	return in.Body, expect(err, atMost("body", utf8.RuneCountInString(in.Body), s.longest), atLeast("body", len(in.Body), 1))
}

func (s *commentService) json(c commentThere) string {
	there := map[string]any{"id": c.id, "body": c.body, s.author: map[string]any{"id": c.author}}
	if c.app > 0 {
		there["performed_via_github_app"] = map[string]any{"id": c.app}
	}
	return jsonOf(there)
}

// page gives a hundred, oldest first.
func (s *commentService) page(c call) string {
	some := s.all
	if s.pages {
		var page int
		_, _ = fmt.Sscan(c.URL.Query().Get("page"), &page)
		some = nil
		for part := range slices.Chunk(s.all, 100) {
			if page--; page == 0 {
				some = part
			}
		}
	}
	found := []json.RawMessage{}
	for _, c := range some {
		found = append(found, json.RawMessage(s.json(c)))
	}
	return jsonOf(found)
}

func (s *commentService) kit() kit {
	return kit{settings: settings(s.kind, "", "token", secretToken), path: s.path, inSpec: true, machine: true, check: s.check, wrap: func(s Sender) Sender { return toRequest{s} }}
}

// toRequest has messages name request 12, unless they name what is none.
type toRequest struct{ Sender }

func (r toRequest) Send(ctx context.Context, m Message) (Receipt, error) {
	m.Event.Metadata = maps.Clone(m.Event.Metadata)
	if m.Event.Metadata == nil {
		m.Event.Metadata = map[string]string{}
	}
	if m.Event.Metadata["change_request"] == "" {
		m.Event.Metadata["change_request"] = "12"
	}
	return r.Sender.Send(ctx, m)
}

func TestComments(t *testing.T) {
	for _, s := range commentServices() {
		t.Run(s.kind, func(t *testing.T) {
			s.kit().run(t)
		})
	}
}

// One comment for each object, found again behind others', and never one that somebody else wrote.
func TestCommentLife(t *testing.T) {
	for _, s := range commentServices() {
		t.Run(s.kind, func(t *testing.T) {
			sender, traits := s.kit().sender(t, serve(t, s.check).URL)
			if traits != (Traits{Comments: true, Parallel: manyAtOnce}) {
				t.Errorf("%+v", traits)
			}
			marker := "<!-- " + s.marker + ":0e6e0d34-6ed8-4a4c-a6a6-0f0f0f0f0f0f/Kustomization/apps/web -->"
			for i := range 150 {
				s.all = append(s.all, commentThere{id: 1000 + i, author: 8, body: "talk"})
			}
			s.all = append(s.all, commentThere{id: 2000, author: 8, body: marker + " a forged one"})
			m := sampleMessage()
			m.Content.Rows = nil
			for range 2 {
				if _, err := sender.Send(t.Context(), m); err != nil {
					t.Fatal(err)
				}
				m.Content.Title = "Kustomization/apps/web is well again"
			}
			if n := len(s.all); n != 152 || s.all[150].body != marker+" a forged one" {
				t.Fatalf("%d comments", n)
			}
			ours := s.all[151].body
			for _, part := range []string{marker, `is well again`, "Deployment/apps/web is not ready", "shop in production|main", "https://git.example.com/team/apps/commit/" + commit} {
				found := false
				for _, alternative := range strings.Split(part, "|") {
					found = found || strings.Contains(ours, alternative)
				}
				if !found {
					t.Errorf("%q is not in\n%s", part, ours)
				}
			}
			m.Event.InvolvedObject.Name = "api"
			if _, err := sender.Send(t.Context(), m); err != nil || len(s.all) != 153 {
				t.Errorf("another object: %v, %d comments", err, len(s.all))
			}
		})
	}
}

// What a group came to is one comment, by its incident.
func TestCommentOfGroup(t *testing.T) {
	s := commentServices()[0]
	sender, _ := s.kit().sender(t, serve(t, s.check).URL)
	m := bigMessage()
	for _, name := range []string{"web", "api"} {
		m.Event.InvolvedObject.Name = name
		if _, err := sender.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.all) != 1 || !strings.Contains(s.all[0].body, incident) || !strings.Contains(s.all[0].body, `team\-149`) || !strings.Contains(s.all[0].body, "and 50 more") {
		t.Errorf("%d comments, %.3000s", len(s.all), s.all[0].body)
	}
}

func TestCommentsNeedRequest(t *testing.T) {
	s := commentServices()[0]
	service := serve(t, s.check)
	k := s.kit()
	k.wrap = nil
	sender, _ := k.sender(t, service.URL)
	m := sampleMessage()
	if _, err := sender.Send(t.Context(), m); err != nil || len(service.taken()) > 0 {
		t.Errorf("an event without a request: %v, %d requests", err, len(service.taken()))
	}
	for _, bad := range []string{"abc", "-1", "0", "12/../../x", "99999999999999999999", "1 2"} {
		m.Event.Metadata["change_request"] = bad
		_, err := sender.Send(t.Context(), m)
		if _, ok := errors.AsType[*Refusal](err); !ok || len(service.taken()) > 0 {
			t.Errorf("%q: %v", bad, err)
		}
	}
	delete(m.Event.Metadata, "change_request")
	m.Event.Metadata["event.toolkit.fluxcd.io/change_request"] = "12"
	if _, err := sender.Send(t.Context(), m); err != nil || len(s.all) != 1 {
		t.Errorf("long key: %v", err)
	}
	without := settings(s.kind, "", "token", secretToken)
	without.UID, without.Spec.Address = "", service.URL+s.path
	if _, _, err := New(without); !errors.Is(err, ErrSettings) {
		t.Errorf("no UID: %v", err)
	}
}

// A comment that was deleted between look and edit is written anew.
func TestCommentGone(t *testing.T) {
	for _, s := range commentServices() {
		gone := false
		sender, _ := s.kit().sender(t, httptestOf(t, func(w http.ResponseWriter, c call) {
			if c.Method == s.method {
				gone = true
				w.WriteHeader(404)
				return
			}
			answer, err := s.check(c)
			if err != nil {
				w.WriteHeader(400)
			}
			_, _ = w.Write([]byte(answer))
		}))
		for range 2 {
			if _, err := sender.Send(t.Context(), sampleMessage()); err != nil {
				t.Errorf("%s: %v", s.kind, err)
			}
		}
		if !gone || len(s.all) != 2 {
			t.Errorf("%s: %d comments", s.kind, len(s.all))
		}
	}
}

// httptestOf is a server that hands out whole requests.
func httptestOf(t *testing.T, handle func(http.ResponseWriter, call)) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handle(w, readCall(r))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

var fence = regexp.MustCompile("\n(````*)text\n")

// outside is what a body has beside its block of code; false if that does not end where we end it.
func outside(body string) (string, bool) {
	begin := fence.FindStringSubmatchIndex(body)
	if begin == nil {
		return body, false
	}
	mark := "\n" + body[begin[2]:begin[3]]
	text, rest, ended := strings.Cut(body[begin[1]:], mark)
	return body[:begin[0]] + rest, ended && strings.HasPrefix(rest, "\n") && !strings.Contains(text, mark[1:]) && !strings.Contains(rest, mark[1:])
}

// Nothing of a hostile message calls, links or commands: outside of the block of code all of it is escaped, and the block ends where we
// end it.
func TestCommentHostile(t *testing.T) {
	for _, s := range commentServices() {
		for _, size := range []int{0, 1 << 20} {
			s.all = nil
			sender, _ := s.kit().sender(t, serve(t, s.check).URL)
			m := hostileMessage(size)
			m.Content.Text += "\n/close\n/merge\n``````\n/assign @me"
			if _, err := sender.Send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			body := s.all[0].body
			outside, closed := outside(body)
			if !closed {
				t.Fatalf("%s: block of code is open:\n%.2000s", s.kind, body)
			}
			marker, outside, _ := strings.Cut(outside, "\n")
			if strings.Count(marker, "<") != 1 || strings.Count(marker, ">") != 1 || !strings.HasSuffix(marker, " -->") {
				t.Errorf("marker %q", marker)
			}
			for _, bad := range []string{"@", "<", "dropped", "\n/", "](javascript", "\x00", "\u202e"} {
				if at := strings.Index(outside, bad); at >= 0 {
					t.Errorf("%s: %q in %.200q", s.kind, bad, outside[max(0, at-60):])
				}
			}
			if regexp.MustCompile(`(^|[^&\\])#[0-9a-z]`).MatchString(outside) || regexp.MustCompile("(^|[^\\\\])`").MatchString(outside) {
				t.Errorf("%s: reference or code in %s", s.kind, outside)
			}
		}
	}
}

// An App knows its comments by its id, as it has no user.
func TestCommentsOfApp(t *testing.T) {
	s := commentServices()[0]
	s.app = 99
	host := appHost(t, s.check)
	settings := settings(s.kind, "")
	settings.Secret = appSecret(t, host.URL)
	settings.Spec.Address, settings.AllowPrivate = host.URL+s.path, true
	issuer, err := identity.NewIssuer(nil, false)
	if err != nil {
		t.Fatal(err)
	}
	settings.Apps = issuer
	s.all = []commentThere{{id: 1, author: 8, body: "<!-- flux-pr-comment-key:" + settings.UID + "/Kustomization/apps/web -->"}, {id: 2, author: 8, app: 98, body: "<!-- flux-pr-comment-key:" + settings.UID + "/Kustomization/apps/web -->"}}
	m := sampleMessage()
	m.Content.Rows = nil
	for range 3 {
		sender, _, err := New(settings) // as each run does
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (toRequest{sender}).Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.all) != 3 || host.issued() != 1 {
		t.Errorf("%d comments, %d tokens", len(s.all), host.issued())
	}
}

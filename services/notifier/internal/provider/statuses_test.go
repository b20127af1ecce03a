package provider

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
)

const commit = "731f7eaddfb6af01cb2173e18f0f75b0ba780ef1"

// posted is a status that a host has.
type posted struct{ name, state, description, url string }

// statusService is a git host as far as commit statuses go: it checks what the host's published interface asks for.
type statusService struct {
	kind   string
	path   string // of the repository's address
	secret []string
	read   string // path of what is there, with %s for the name where it is in the path
	write  string
	states [3]string                                           // pending, success, failure
	shape  func(c call) (posted, error)                        // checks what is posted
	list   func(c call, all []posted) (answer string, ok bool) // ok is false for status 404
	accept func(c call) error                                  // checks each request's headers and query
	refuse func(all []posted, p posted) string                 // why the host's own rules do not let p come; nil for none

	mu     sync.Mutex
	all    []posted
	writes int
}

func (s *statusService) check(c call) (string, int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.accept(c); err != nil {
		return "", 400, err
	}
	switch {
	case c.Method == "GET" && strings.HasPrefix(c.URL.EscapedPath(), s.read):
		answer, ok := s.list(c, s.all)
		if !ok {
			return "", 404, errors.New("there is none")
		}
		return answer, 200, nil
	case c.Method == "POST" && c.URL.EscapedPath() == s.write:
		p, err := s.shape(c)
		if err == nil {
			err = expect(oneOf("state", p.state, s.states[:]), want("type", c.Header.Get("Content-Type"), "application/json"))
		}
		if err != nil {
			return "", 400, err
		}
		if s.refuse != nil {
			if why := s.refuse(s.all, p); why != "" {
				return fmt.Sprintf(`{"message":%q}`, why), 400, nil
			}
		}
		s.writes++
		s.all = append(s.all, p)
		return "{}", 201, nil
	}
	return "", 400, fmt.Errorf("%s %s is asked for", c.Method, c.URL.EscapedPath())
}

func oneOf(what, got string, all []string) error {
	if !slices.Contains(all, got) {
		return fmt.Errorf("%s is %q, none of %q", what, got, all)
	}
	return nil
}

// short checks a text's length in characters, and that it is one line.
func short(what, text string, most int) error {
	if strings.ContainsAny(text, "\r\n\x00") {
		return fmt.Errorf("%s has several lines", what)
	}
	return atMost(what, utf8.RuneCountInString(text), most)
}

func webOrNone(address string) error {
	if address != "" && !strings.HasPrefix(address, "https://") && !strings.HasPrefix(address, "http://") {
		return fmt.Errorf("address is %q", address)
	}
	return nil
}

func sha1Of(text string) string {
	sum := sha1.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

func jsonOf(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// statusServices are made anew for each test: they remember.
func statusServices() []*statusService {
	return []*statusService{githubService(), gitlabService(), giteaService(), bitbucketService(), dataCenterService(), azureService()}
}

func githubService() *statusService {
	s := &statusService{kind: notifyv1.GitHubProvider, path: "/org/repo.git", secret: []string{"token", secretToken}, states: [3]string{"pending", "success", "failure"},
		read: "/api/v3/repos/org/repo/commits/" + commit + "/statuses", write: "/api/v3/repos/org/repo/statuses/" + commit}
	s.accept = func(c call) error { return want("authorization", c.Header.Get("Authorization"), "Bearer "+secretToken) }
	s.shape = func(c call) (posted, error) {
		var in struct {
			State       string  `json:"state"`
			Context     string  `json:"context"`
			Description string  `json:"description"`
			TargetURL   *string `json:"target_url"`
		}
		err := c.into(&in)
		p := posted{name: in.Context, state: in.State, description: in.Description}
		if in.TargetURL != nil {
			p.url = *in.TargetURL
		}
		return p, expect(err, short("context", p.name, 255), short("description", p.description, 140), webOrNone(p.url), needURL(in.TargetURL))
	}
	s.list = func(_ call, all []posted) (string, bool) { // newest first, among others'
		found := []map[string]any{{"context": "ci", "state": "success", "description": nil}}
		for _, p := range all {
			found = append([]map[string]any{{"context": strings.ToUpper(p.name), "state": p.state, "description": p.description}}, found...)
		}
		return jsonOf(found), true
	}
	return s
}

func needURL(u *string) error {
	if u != nil && *u == "" {
		return errors.New("target_url is empty")
	}
	return nil
}

func gitlabService() *statusService {
	s := &statusService{kind: notifyv1.GitLabProvider, path: "/group/sub/repo", secret: []string{"token", secretToken}, states: [3]string{"pending", "success", "failed"},
		read: "/api/v4/projects/group%2Fsub%2Frepo/repository/commits/" + commit + "/statuses", write: "/api/v4/projects/group%2Fsub%2Frepo/statuses/" + commit}
	s.accept = func(c call) error { return want("token", c.Header.Get("PRIVATE-TOKEN"), secretToken) }
	s.shape = func(c call) (posted, error) {
		var in struct{ State, Name, Description, Target_URL string } //nolint:revive // GitLab's
		err := c.into(&in)
		return posted{in.Name, in.State, in.Description, in.Target_URL}, expect(err, short("name", in.Name, 255), short("description", in.Description, 255), webOrNone(in.Target_URL))
	}
	s.list = func(c call, all []posted) (string, bool) { // the filter by name, in no order
		found := []map[string]any{}
		for i, p := range all {
			if p.name == c.URL.Query().Get("name") {
				found = append(found, map[string]any{"id": 1000 + i, "name": p.name, "status": p.state, "description": p.description, "sha": commit})
			}
		}
		slices.Reverse(found[:len(found)/2])
		return jsonOf(found), true
	}
	s.refuse = func(all []posted, p posted) string { // a status that has not ended is one object that changes its state
		for _, last := range slices.Backward(all) {
			if last.name == p.name {
				if last.state == p.state && p.state == "pending" {
					return `Cannot transition status via :enqueue from :pending (Reason(s): Status cannot transition via "enqueue")`
				}
				break
			}
		}
		return ""
	}
	return s
}

func giteaService() *statusService {
	s := &statusService{kind: notifyv1.GiteaProvider, path: "/org/repo", secret: []string{"password", secretPassword}, states: [3]string{"pending", "success", "failure"},
		read: "/api/v1/repos/org/repo/commits/" + commit + "/statuses", write: "/api/v1/repos/org/repo/statuses/" + commit}
	s.accept = func(c call) error {
		return want("authorization", c.Header.Get("Authorization"), "token "+secretPassword)
	}
	s.shape = func(c call) (posted, error) {
		var in struct{ State, Context, Description, Target_URL string } //nolint:revive // Gitea's
		err := c.into(&in)
		return posted{in.Context, in.State, in.Description, in.Target_URL}, expect(err, short("context", in.Context, 255), short("description", in.Description, 255), webOrNone(in.Target_URL))
	}
	s.list = func(_ call, all []posted) (string, bool) {
		found := []map[string]any{}
		for i, p := range all {
			found = append(found, map[string]any{"id": i + 1, "context": p.name, "status": p.state, "description": p.description})
		}
		return jsonOf(found), true
	}
	return s
}

// buildShape is what both of Bitbucket's products take.
func buildShape(c call) (posted, error) {
	var in struct{ Key, State, Name, Description, URL string }
	err := c.into(&in)
	if in.URL == "" {
		err = errors.Join(err, errors.New("url is needed"))
	}
	return posted{in.Key, in.State, in.Description, in.URL}, expect(err, short("key", in.Key, 40), short("name", in.Name, 255), short("description", in.Description, 255),
		short("url", in.URL, 450), webOrNone(in.URL), atLeast("name", len(in.Name), 1))
}

func lastBuild(all []posted, key string) (string, bool) {
	for _, p := range slices.Backward(all) {
		if p.name == key {
			return jsonOf(map[string]any{"key": p.name, "state": p.state, "description": p.description, "url": p.url}), true
		}
	}
	return "", false
}

func bitbucketService() *statusService {
	s := &statusService{kind: notifyv1.BitbucketProvider, path: "/team/repo", secret: []string{"token", "bot:" + secretToken}, states: [3]string{"INPROGRESS", "SUCCESSFUL", "FAILED"},
		read: "/2.0/repositories/team/repo/commit/" + commit + "/statuses/build/", write: "/2.0/repositories/team/repo/commit/" + commit + "/statuses/build"}
	s.accept = func(c call) error {
		return want("authorization", c.Header.Get("Authorization"), basic("bot", secretToken))
	}
	s.shape = buildShape
	s.list = func(c call, all []posted) (string, bool) {
		return lastBuild(all, c.URL.Path[strings.LastIndex(c.URL.Path, "/")+1:])
	}
	return s
}

func dataCenterService() *statusService {
	path := "/context/rest/api/latest/projects/~me/repos/repo/commits/" + commit + "/builds"
	s := &statusService{kind: notifyv1.BitbucketServerProvider, path: "/context/scm/~me/repo.git", secret: []string{"username", "bot", "password", secretPassword},
		states: [3]string{"INPROGRESS", "SUCCESSFUL", "FAILED"}, read: path, write: path}
	s.accept = func(c call) error {
		return want("authorization", c.Header.Get("Authorization"), basic("bot", secretPassword))
	}
	s.shape = buildShape
	s.list = func(c call, all []posted) (string, bool) { return lastBuild(all, c.URL.Query().Get("key")) }
	return s
}

func azureService() *statusService {
	path := "/org/my%20project/_apis/git/repositories/repo/commits/" + commit + "/statuses"
	s := &statusService{kind: notifyv1.AzureDevOpsProvider, path: "/org/my%20project/_git/repo", secret: []string{"token", secretToken}, states: [3]string{"pending", "succeeded", "error"},
		read: path, write: path}
	s.accept = func(c call) error {
		return expect(want("authorization", c.Header.Get("Authorization"), basic("", secretToken)), want("version", c.URL.Query().Get("api-version"), "7.1"))
	}
	s.shape = func(c call) (posted, error) {
		var in struct {
			State, Description, TargetURL string
			Context                       struct{ Genre, Name string }
		}
		err := c.into(&in)
		return posted{in.Context.Name, in.State, in.Description, in.TargetURL}, expect(err, want("genre", in.Context.Genre, "fluxcd"),
			short("name", in.Context.Name, 1024), short("description", in.Description, 1024), webOrNone(in.TargetURL))
	}
	s.list = func(_ call, all []posted) (string, bool) {
		found := []map[string]any{{"id": 999, "state": "succeeded", "description": "another's", "context": map[string]any{"genre": "ci", "name": "kustomization/web/0e6e0d34"}}}
		for i, p := range all {
			found = append(found, map[string]any{"id": i, "state": p.state, "description": p.description, "context": map[string]any{"genre": "fluxcd", "name": p.name}})
		}
		return jsonOf(map[string]any{"value": found, "count": len(found)}), true
	}
	return s
}

// serveStatuses starts the host.
func serveStatuses(t *testing.T, s *statusService) string {
	t.Helper()
	return httptestOf(t, func(w http.ResponseWriter, c call) {
		answer, code, err := s.check(c)
		w.WriteHeader(code)
		if err != nil {
			answer = err.Error()
		}
		_, _ = w.Write([]byte(answer))
	})
}

func (s *statusService) kit() kit {
	return kit{settings: settings(s.kind, "", s.secret...), path: s.path, inSpec: true, machine: true, check: func(c call) (string, error) {
		answer, code, err := s.check(c)
		if code == 404 { // the kit's service has no such answer; nothing is the same to the sender
			return "{}", nil
		}
		return answer, err
	}}
}

func TestStatuses(t *testing.T) {
	for _, s := range statusServices() {
		t.Run(s.kind, func(t *testing.T) {
			s.kit().run(t)
		})
	}
}

// Each status once, whatever comes twice.
func TestStatusLife(t *testing.T) {
	for _, s := range statusServices() {
		t.Run(s.kind, func(t *testing.T) {
			sender, traits := s.kit().sender(t, serveStatuses(t, s))
			if traits != (Traits{CommitStatus: true}) {
				t.Errorf("%+v", traits)
			}
			for i, step := range []struct {
				state       State
				description string
				written     bool
			}{
				{Progressing, "rendering", true}, {Progressing, "rendering", false}, {Succeeded, "applied", true}, {Succeeded, "applied", false},
				{Succeeded, "healthy", true}, {Failed, "not ready", true}, {Failed, "not ready", false}, {Progressing, "rendering", true},
				{Succeeded, "healthy", true}, {Informed, "healthy", false},
			} {
				before := s.writes
				m := sampleMessage()
				m.Status.State, m.Status.Description = step.state, step.description
				if _, err := sender.Send(t.Context(), m); err != nil {
					t.Fatalf("step %d: %v", i, err)
				}
				if (s.writes > before) != step.written {
					t.Errorf("step %d: %d written", i, s.writes-before)
				}
			}
			last := s.all[len(s.all)-1]
			if last.state != s.states[1] || last.url != "https://sluice.example.com/apps/web" || last.description != "healthy" {
				t.Errorf("%+v", last)
			}
			if name := last.name; name != "kustomization/web/0e6e0d34" && name != sha1Of("kustomization/web/0e6e0d34") {
				t.Errorf("context is %q", name)
			}
		})
	}
}

// Another name is another status.
func TestStatusNames(t *testing.T) {
	for _, s := range statusServices() {
		t.Run(s.kind, func(t *testing.T) {
			sender, _ := s.kit().sender(t, serveStatuses(t, s))
			for _, name := range []string{"kustomization/web/0e6e0d34", "kustomization/api/0e6e0d34", "kustomization/web/0e6e0d34"} {
				m := sampleMessage()
				m.Status.Context = name
				if _, err := sender.Send(t.Context(), m); err != nil {
					t.Fatal(err)
				}
			}
			if s.writes != 2 {
				t.Errorf("%d written", s.writes)
			}
		})
	}
}

// What the host says when it is told, after it was asked.
func TestStatusFaults(t *testing.T) {
	for _, s := range statusServices() {
		t.Run(s.kind, func(t *testing.T) {
			var status int
			var header [2]string
			var body string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == "GET" {
					answer, ok := s.list(call{Request: r}, nil)
					if !ok {
						w.WriteHeader(404)
					}
					_, _ = w.Write([]byte(answer))
					return
				}
				w.Header().Set(header[0], header[1])
				w.WriteHeader(status)
				_, _ = w.Write([]byte(body))
			}))
			t.Cleanup(server.Close)
			sender, _ := s.kit().sender(t, server.URL)
			send := func(code int, name, value, text string) error {
				status, header, body = code, [2]string{name, value}, text
				_, err := sender.Send(t.Context(), sampleMessage())
				if strings.Contains(fmt.Sprint(err), secretToken) || strings.Contains(fmt.Sprint(err), secretPassword) {
					t.Errorf("secret in %v", err)
				}
				return err
			}
			reset := fmt.Sprint(time.Now().Add(10 * time.Minute).Unix())
			for name, err := range map[string]error{
				"429":       send(429, "Retry-After", "600", ""),
				"used up":   send(403, "X-RateLimit-Remaining", "0", ""),
				"reset":     send(429, "X-RateLimit-Reset", reset, ""),
				"secondary": send(403, "X-Unused", "1", `{"message":"You have exceeded a secondary rate limit. Please wait a few minutes."}`),
				"retry":     send(403, "Retry-After", "600", ""),
				"overload":  send(503, "Retry-After", "600", ""),
			} {
				busy, ok := errors.AsType[*Busy](err)
				if !ok || busy.After < 55*time.Second || busy.After > 10*time.Minute {
					t.Errorf("%s: %v", name, err)
				}
			}
			for _, code := range []int{400, 401, 403, 404, 422, 203} {
				refusal, ok := errors.AsType[*Refusal](send(code, "X-Unused", "1", s.secret[len(s.secret)-1]))
				if !ok || refusal.Status != code {
					t.Errorf("%d: %v", code, refusal)
				}
			}
			for _, code := range []int{409, 500, 502, 503} {
				s.kit().checkPassing(t, send(code, "X-Unused", "1", "conflict"))
			}
		})
	}
}

func TestStatusNeedsCommit(t *testing.T) {
	s := githubService()
	sender, _ := s.kit().sender(t, serveStatuses(t, s))
	without, short, hostile := sampleMessage(), sampleMessage(), sampleMessage()
	without.Status = nil
	short.Status.Commit = commit[:7]
	hostile.Status.Commit = "../../../../user" + strings.Repeat("/", 24)
	for _, m := range []Message{without, short, hostile} {
		if _, err := sender.Send(t.Context(), m); s.writes > 0 || err == nil {
			t.Errorf("%v", err)
		} else if _, ok := errors.AsType[*Refusal](err); !ok {
			t.Error(err)
		}
	}
}

// Two at once: the second finds the state already there when GitLab refuses it.
func TestGitLabRace(t *testing.T) {
	s := gitlabService()
	list := s.list
	first := true
	s.list = func(c call, all []posted) (string, bool) {
		if first { // before the other came
			first = false
			return "[]", true
		}
		return list(c, all)
	}
	s.all = []posted{{name: "kustomization/web/0e6e0d34", state: "pending", description: "of the other"}}
	sender, _ := s.kit().sender(t, serveStatuses(t, s))
	m := sampleMessage()
	m.Status.State = Progressing
	if _, err := sender.Send(t.Context(), m); err != nil {
		t.Error(err)
	}
	s.refuse = func([]posted, posted) string { return "Cannot transition status via :success from :canceled" }
	m.Status.State = Succeeded
	if _, err := sender.Send(t.Context(), m); err == nil {
		t.Error("a refusal is taken for success")
	}
}

func TestStatusSettings(t *testing.T) {
	for name, s := range map[string]Settings{
		"no address":            settings(notifyv1.GitHubProvider, "", "token", secretToken),
		"no token":              at(settings(notifyv1.GitHubProvider, ""), "https://github.com/org/repo"),
		"group only":            at(settings(notifyv1.GitLabProvider, "", "token", secretToken), "https://gitlab.com/group"),
		"three parts":           at(settings(notifyv1.GitHubProvider, "", "token", secretToken), "https://github.com/a/b/c"),
		"lines in the token":    at(settings(notifyv1.GiteaProvider, "", "token", "a\nHost: evil"), "https://gitea.com/a/b"),
		"data center by SSH":    at(settings(notifyv1.BitbucketServerProvider, "", "token", secretToken), "ssh://git@bb.example.com/scm/a/b"),
		"data center, no scm":   at(settings(notifyv1.BitbucketServerProvider, "", "token", secretToken), "https://bb.example.com/a/b"),
		"user without password": at(settings(notifyv1.BitbucketServerProvider, "", "username", "me"), "https://bb.example.com/scm/a/b"),
		"azure, no identity":    at(settings(notifyv1.AzureDevOpsProvider, ""), "https://dev.azure.com/org/proj/_git/repo"),
		"bad certificate":       at(settings(notifyv1.GitLabProvider, "", "token", secretToken, "ca.crt", "none"), "https://gitlab.com/a/b"),
		"file":                  at(settings(notifyv1.GitHubProvider, "", "token", secretToken), "file:///etc/passwd"),
	} {
		if _, _, err := New(s); !errors.Is(err, ErrSettings) || strings.Contains(err.Error(), secretToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func at(s Settings, address string) Settings {
	s.Spec.Address = address
	return s
}

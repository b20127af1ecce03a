package provider

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
)

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
		var in struct {
			State, Name, Description string
			TargetURL                string `json:"target_url"`
		}
		err := c.into(&in)
		return posted{in.Name, in.State, in.Description, in.TargetURL}, expect(err, short("name", in.Name, 255), short("description", in.Description, 255),
			short("target_url", in.TargetURL, 255), webOrNone(in.TargetURL))
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
		var in struct {
			State, Context, Description string
			TargetURL                   string `json:"target_url"`
		}
		err := c.into(&in)
		return posted{in.Context, in.State, in.Description, in.TargetURL}, expect(err, short("context", in.Context, 255), short("description", in.Description, 255), webOrNone(in.TargetURL))
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

package pullrequest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// fake is a git host with one repository. It keeps pull requests the way all
// hosts do; each kind has its own paths, words and required fields. Calls are held
// against what the hosts publish, see operation.
type fake struct {
	t     *testing.T
	kind  Kind
	mux   *http.ServeMux
	pulls []*fakePull
	auth  func(*http.Request) bool
}

type fakePull struct {
	id, version             int64
	title, body, head, base string
	state                   State
	labels, reviewers       []string
	comments                []string
	auto                    bool
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !f.auth(r) {
		http.Error(w, `{"message":"bad credentials"}`, http.StatusUnauthorized)
		return
	}
	if r.Method != "GET" && r.ContentLength > 0 && r.Header.Get("Content-Type") != "application/json" {
		f.t.Errorf("%s %s has content type %q", r.Method, r.URL, r.Header.Get("Content-Type"))
	}
	f.keepsTo(r)
	f.mux.ServeHTTP(w, r)
}

func (f *fake) handle(pattern string, h func(r *http.Request, in map[string]any) (int, any)) {
	f.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		in := map[string]any{}
		if r.ContentLength > 0 {
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
				f.t.Error(err)
			}
		}
		code, out := h(r, in)
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(out)
	})
}

func (f *fake) find(r *http.Request) *fakePull {
	for _, p := range f.pulls {
		if fmt.Sprint(p.id) == r.PathValue("id") {
			return p
		}
	}
	f.t.Errorf("%s asks for a request that is not there", r.URL)
	return &fakePull{}
}

// need gives a text field that the host requires.
func (f *fake) need(in map[string]any, keys ...string) string {
	var v any = in
	for _, k := range keys {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	s, ok := v.(string)
	if !ok || s == "" {
		f.t.Errorf("field %v is missing in %v", keys, in)
	}
	return s
}

// open creates a request unless the branches have one, or do not differ.
func (f *fake) open(title, body, head, base string) (*fakePull, string) {
	if head == "same" {
		return nil, "difference"
	}
	for _, p := range f.pulls {
		if p.state == Open && p.head == head && p.base == base {
			return nil, "duplicate"
		}
	}
	p := &fakePull{id: int64(len(f.pulls) + 1), version: 3, title: title, body: body, head: head, base: base, state: Open}
	f.pulls = append([]*fakePull{p}, f.pulls...)
	return p, ""
}

// matching gives the requests of a page: 50 of those that fit.
func (f *fake) matching(head string, openOnly bool, skip int) []*fakePull {
	var all []*fakePull
	for _, p := range f.pulls {
		if (head == "" || p.head == head) && (!openOnly || p.state == Open) {
			all = append(all, p)
		}
	}
	return all[min(skip, len(all)):min(skip+perPage, len(all))]
}

func strs(v any) []string {
	list, _ := v.([]any)
	var all []string
	for _, x := range list {
		all = append(all, fmt.Sprint(x))
	}
	return all
}

func encode[T any](pulls []*fakePull, one func(*fakePull) T) []T {
	all := []T{}
	for _, p := range pulls {
		all = append(all, one(p))
	}
	return all
}

func page(r *http.Request) int {
	var n int
	_, _ = fmt.Sscan(r.URL.Query().Get("page"), &n)
	return (n - 1) * perPage
}

func bearer(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer secret-token" }

type object = map[string]any

func githubFake(f *fake) {
	f.auth = bearer
	one := func(p *fakePull) object {
		o := object{"number": p.id, "node_id": fmt.Sprintf("N%d", p.id), "html_url": fmt.Sprintf("https://x/%d", p.id), "title": p.title, "body": p.body,
			"state": map[State]string{Open: "open", Merged: "closed", Closed: "closed"}[p.state],
			"head":  object{"ref": p.head, "sha": "abc"}, "base": object{"ref": p.base}, "merged_at": nil}
		if p.state == Merged {
			o["merged_at"] = "2026-01-01T00:00:00Z"
		}
		return o
	}
	root := "/api/v3/repos/org/repo"
	f.handle("GET "+root+"/pulls", func(r *http.Request, _ object) (int, any) {
		q := r.URL.Query()
		head := strings.TrimPrefix(q.Get("head"), "org:")
		if q.Get("head") != "" && head == q.Get("head") {
			f.t.Error("head must be owner:branch")
		}
		return 200, encode(f.matching(head, q.Get("state") == "open", page(r)), one)
	})
	f.handle("GET "+root+"/pulls/{id}", func(r *http.Request, _ object) (int, any) { return 200, one(f.find(r)) })
	f.handle("POST "+root+"/pulls", func(_ *http.Request, in object) (int, any) {
		p, why := f.open(f.need(in, "title"), f.need(in, "body"), f.need(in, "head"), f.need(in, "base"))
		switch why {
		case "duplicate":
			return 422, object{"message": "Validation Failed", "errors": []object{{"resource": "PullRequest", "code": "custom", "message": "A pull request already exists for org:x."}}}
		case "difference":
			return 422, object{"message": "Validation Failed", "errors": []object{{"message": "No commits between main and same"}}}
		}
		return 201, one(p)
	})
	f.handle("PATCH "+root+"/pulls/{id}", func(r *http.Request, in object) (int, any) {
		p := f.find(r)
		if in["state"] == "closed" {
			p.state = Closed
			return 200, one(p)
		}
		p.title, p.body = f.need(in, "title"), f.need(in, "body")
		return 200, one(p)
	})
	f.handle("POST "+root+"/issues/{id}/labels", func(r *http.Request, in object) (int, any) {
		p := f.find(r)
		p.labels = append(p.labels, strs(in["labels"])...)
		return 200, []any{}
	})
	f.handle("POST "+root+"/pulls/{id}/requested_reviewers", func(r *http.Request, in object) (int, any) {
		p := f.find(r)
		p.reviewers = append(p.reviewers, strs(in["reviewers"])...)
		return 201, one(p)
	})
	f.handle("POST "+root+"/issues/{id}/comments", func(r *http.Request, in object) (int, any) {
		p := f.find(r)
		p.comments = append(p.comments, f.need(in, "body"))
		return 201, object{}
	})
	f.handle("POST /api/graphql", func(_ *http.Request, in object) (int, any) {
		id := f.need(in, "variables", "id")
		if !strings.Contains(f.need(in, "query"), "enablePullRequestAutoMerge") || f.need(in, "variables", "head") != "abc" {
			f.t.Error(in)
		}
		for _, p := range f.pulls {
			p.auto = p.auto || fmt.Sprintf("N%d", p.id) == id
		}
		return 200, object{"data": object{}}
	})
}

func giteaFake(f *fake) {
	githubFake(f)
	f.auth = func(r *http.Request) bool { return r.Header.Get("Authorization") == "token secret-token" }
	inner := f.mux
	f.mux = http.NewServeMux()
	f.mux.HandleFunc("/api/v1/", func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = strings.Replace(r.URL.Path, "/api/v1/", "/api/v3/", 1)
		inner.ServeHTTP(w, r)
	})
	root := "/api/v1/repos/org/repo"
	f.handle("GET "+root+"/labels", func(r *http.Request, _ object) (int, any) {
		if page(r) > 0 {
			return 200, []object{}
		}
		return 200, []object{{"id": 7, "name": "images"}, {"id": 8, "name": "other"}}
	})
	f.handle("POST "+root+"/issues/{id}/labels", func(r *http.Request, in object) (int, any) {
		p := f.find(r)
		for _, id := range strs(in["labels"]) {
			p.labels = append(p.labels, map[string]string{"7": "images"}[id])
		}
		return 200, []any{}
	})
	f.handle("POST "+root+"/pulls/{id}/merge", func(r *http.Request, in object) (int, any) {
		if f.need(in, "Do") != "merge" || in["merge_when_checks_succeed"] != true {
			f.t.Error(in)
		}
		f.find(r).auto = true
		return 201, nil
	})
}

func gitlabFake(f *fake) {
	f.auth = func(r *http.Request) bool { return r.Header.Get("PRIVATE-TOKEN") == "secret-token" }
	one := func(p *fakePull) object {
		people := []object{}
		for range p.reviewers {
			people = append(people, object{"id": 42})
		}
		return object{"iid": p.id, "web_url": fmt.Sprintf("https://x/%d", p.id), "title": p.title, "description": p.body, "sha": "abc",
			"state": map[State]string{Open: "opened", Merged: "merged", Closed: "closed"}[p.state], "source_branch": p.head, "target_branch": p.base, "reviewers": people}
	}
	root := "/api/v4/projects/{project}/merge_requests"
	handle := func(method, rest string, h func(r *http.Request, in object) (int, any)) {
		f.handle(method+" "+root+rest, func(r *http.Request, in object) (int, any) {
			if r.PathValue("project") != "org/repo" {
				f.t.Errorf("project is %q", r.PathValue("project"))
			}
			return h(r, in)
		})
	}
	handle("GET", "", func(r *http.Request, _ object) (int, any) {
		q := r.URL.Query()
		if q.Get("scope") != "all" {
			f.t.Error("requests of others are left out")
		}
		return 200, encode(f.matching(q.Get("source_branch"), q.Get("state") == "opened", page(r)), one)
	})
	handle("GET", "/{id}", func(r *http.Request, _ object) (int, any) { return 200, one(f.find(r)) })
	handle("POST", "", func(_ *http.Request, in object) (int, any) {
		p, why := f.open(f.need(in, "title"), f.need(in, "description"), f.need(in, "source_branch"), f.need(in, "target_branch"))
		switch why {
		case "duplicate":
			return 409, object{"message": []string{"Another open merge request already exists for this source branch: !1"}}
		case "difference":
			return 400, object{"message": "There are no changes"}
		}
		return 201, one(p)
	})
	handle("PUT", "/{id}", func(r *http.Request, in object) (int, any) {
		p := f.find(r)
		switch {
		case in["state_event"] == "close":
			p.state = Closed
		case in["add_labels"] != nil:
			p.labels = append(p.labels, strings.Split(f.need(in, "add_labels"), ",")...)
		case in["reviewer_ids"] != nil:
			if !slices.Equal(strs(in["reviewer_ids"]), []string{"42"}) {
				f.t.Error(in)
			}
			p.reviewers = []string{"ann"}
		default:
			p.title, p.body = f.need(in, "title"), f.need(in, "description")
		}
		return 200, one(p)
	})
	handle("PUT", "/{id}/merge", func(r *http.Request, in object) (int, any) {
		f.find(r).auto = in["auto_merge"] == true && f.need(in, "sha") == "abc"
		return 200, object{}
	})
	handle("POST", "/{id}/notes", func(r *http.Request, in object) (int, any) {
		p := f.find(r)
		p.comments = append(p.comments, f.need(in, "body"))
		return 201, object{}
	})
	f.handle("GET /api/v4/users", func(r *http.Request, _ object) (int, any) {
		return 200, []object{{"id": 42, "username": r.URL.Query().Get("username")}}
	})
}

func bitbucketFake(f *fake) {
	f.auth = func(r *http.Request) bool {
		user, password, _ := r.BasicAuth()
		return user == "bot" && password == "secret-token"
	}
	one := func(p *fakePull) object {
		people := []object{}
		for _, r := range p.reviewers {
			people = append(people, object{"account_id": r, "uuid": "{" + r + "}"})
		}
		return object{"id": p.id, "title": p.title, "description": p.body, "state": map[State]string{Open: "OPEN", Merged: "MERGED", Closed: "DECLINED"}[p.state],
			"source": object{"branch": object{"name": p.head}, "commit": object{"hash": "abc"}}, "destination": object{"branch": object{"name": p.base}},
			"reviewers": people, "links": object{"html": object{"href": fmt.Sprintf("https://x/%d", p.id)}}}
	}
	people := func(p *fakePull, in object) {
		p.reviewers = nil
		list, _ := in["reviewers"].([]any)
		for _, r := range list {
			id, _ := r.(object)["account_id"].(string)
			if id == "" {
				id = strings.Trim(f.need(r.(object), "uuid"), "{}")
			}
			p.reviewers = append(p.reviewers, id)
		}
	}
	root := "/2.0/repositories/org/repo/pullrequests"
	f.handle("GET "+root, func(r *http.Request, _ object) (int, any) {
		q := r.URL.Query()
		head := strings.TrimSuffix(strings.TrimPrefix(q.Get("q"), `source.branch.name = "`), `"`)
		skip := max(page(r), 0)
		answer := object{"values": encode(f.matching(head, slices.Equal(q["state"], []string{"OPEN"}), skip), one)}
		if len(f.matching(head, slices.Equal(q["state"], []string{"OPEN"}), skip+perPage)) > 0 {
			q.Set("page", fmt.Sprint(skip/perPage+2))
			answer["next"] = "https://elsewhere.example.com/x?" + q.Encode()
		}
		return 200, answer
	})
	f.handle("GET "+root+"/{id}", func(r *http.Request, _ object) (int, any) { return 200, one(f.find(r)) })
	f.handle("POST "+root, func(_ *http.Request, in object) (int, any) {
		p, why := f.open(f.need(in, "title"), f.need(in, "description"), f.need(in, "source", "branch", "name"), f.need(in, "destination", "branch", "name"))
		switch why {
		case "duplicate":
			return 409, object{"type": "error", "error": object{"message": "There is already an open pull request; it already exists"}}
		case "difference":
			return 400, object{"type": "error", "error": object{"message": "There are no changes to be pulled"}}
		}
		return 201, one(p)
	})
	f.handle("PUT "+root+"/{id}", func(r *http.Request, in object) (int, any) {
		p := f.find(r)
		p.title, p.body = f.need(in, "title"), f.need(in, "description")
		people(p, in)
		return 200, one(p)
	})
	f.handle("POST "+root+"/{id}/decline", func(r *http.Request, _ object) (int, any) {
		f.find(r).state = Closed
		return 200, object{}
	})
	f.handle("POST "+root+"/{id}/comments", func(r *http.Request, in object) (int, any) {
		p := f.find(r)
		p.comments = append(p.comments, f.need(in, "content", "raw"))
		return 201, object{}
	})
}

func dataCenterFake(f *fake) {
	f.auth = bearer
	one := func(p *fakePull) object {
		people := []object{}
		for _, r := range p.reviewers {
			people = append(people, object{"user": object{"name": r}})
		}
		return object{"id": p.id, "version": p.version, "title": p.title, "description": p.body, "state": map[State]string{Open: "OPEN", Merged: "MERGED", Closed: "DECLINED"}[p.state],
			"fromRef": object{"id": "refs/heads/" + p.head, "displayId": p.head, "latestCommit": "abc"}, "toRef": object{"id": "refs/heads/" + p.base, "displayId": p.base},
			"reviewers": people, "links": object{"self": []object{{"href": fmt.Sprintf("https://x/%d", p.id)}}}}
	}
	people := func(p *fakePull, in object) {
		p.reviewers = nil
		for _, r := range in["reviewers"].([]any) {
			p.reviewers = append(p.reviewers, f.need(r.(object), "user", "name"))
		}
	}
	fresh := func(p *fakePull, version any) bool { return fmt.Sprint(version) == fmt.Sprint(p.version) }
	root := "/rest/api/latest/projects/org/repos/repo/pull-requests"
	f.handle("GET "+root, func(r *http.Request, _ object) (int, any) {
		q := r.URL.Query()
		if (q.Get("at") != "") != (q.Get("direction") == "OUTGOING") {
			f.t.Error("at is the target branch unless the direction is outgoing")
		}
		var start int
		_, _ = fmt.Sscan(q.Get("start"), &start)
		found := f.matching(strings.TrimPrefix(q.Get("at"), "refs/heads/"), q.Get("state") == "OPEN", start)
		return 200, object{"values": encode(found, one), "isLastPage": len(found) < perPage, "nextPageStart": start + perPage}
	})
	f.handle("GET "+root+"/{id}", func(r *http.Request, _ object) (int, any) { return 200, one(f.find(r)) })
	f.handle("POST "+root, func(_ *http.Request, in object) (int, any) {
		for _, side := range []string{"fromRef", "toRef"} {
			f.need(in, side, "repository", "slug")
			f.need(in, side, "repository", "project", "key")
		}
		p, why := f.open(f.need(in, "title"), f.need(in, "description"), strings.TrimPrefix(f.need(in, "fromRef", "id"), "refs/heads/"), strings.TrimPrefix(f.need(in, "toRef", "id"), "refs/heads/"))
		switch why {
		case "duplicate":
			return 409, object{"errors": []object{{"message": "Only one pull request may be open", "exceptionName": "com.atlassian.bitbucket.pull.DuplicatePullRequestException"}}}
		case "difference":
			return 409, object{"errors": []object{{"exceptionName": "com.atlassian.bitbucket.pull.EmptyPullRequestException"}}}
		}
		return 201, one(p)
	})
	f.handle("PUT "+root+"/{id}", func(r *http.Request, in object) (int, any) {
		p := f.find(r)
		if !fresh(p, in["version"]) {
			return 409, object{"errors": []object{{"message": "out of date"}}}
		}
		p.version++
		p.title, p.body = f.need(in, "title"), f.need(in, "description")
		people(p, in)
		return 200, one(p)
	})
	f.handle("POST "+root+"/{id}/merge", func(r *http.Request, in object) (int, any) {
		p := f.find(r)
		p.auto = in["autoMerge"] == true && fresh(p, r.URL.Query().Get("version"))
		return 200, one(p)
	})
	f.handle("POST "+root+"/{id}/decline", func(r *http.Request, _ object) (int, any) {
		p := f.find(r)
		if !fresh(p, r.URL.Query().Get("version")) {
			return 409, object{}
		}
		p.state = Closed
		return 200, one(p)
	})
	f.handle("POST "+root+"/{id}/comments", func(r *http.Request, in object) (int, any) {
		p := f.find(r)
		p.comments = append(p.comments, f.need(in, "text"))
		return 201, object{}
	})
}

func azureFake(f *fake) {
	f.auth = func(r *http.Request) bool {
		_, password, _ := r.BasicAuth()
		return password == "secret-token" && r.URL.Query().Get("api-version") == "7.1"
	}
	full := func(p *fakePull) object {
		return object{"pullRequestId": p.id, "title": p.title, "description": p.body, "status": map[State]string{Open: "active", Merged: "completed", Closed: "abandoned"}[p.state],
			"sourceRefName": "refs/heads/" + p.head, "targetRefName": "refs/heads/" + p.base, "lastMergeSourceCommit": object{"commitId": "abc"}, "createdBy": object{"id": "me"}}
	}
	cut := func(p *fakePull) object { // as listings do
		o := full(p)
		o["description"] = p.body[:min(len(p.body), 400)]
		return o
	}
	root := "/org/proj/_apis/git/repositories/repo/pullrequests"
	f.handle("GET "+root, func(r *http.Request, _ object) (int, any) {
		q := r.URL.Query()
		var skip int
		_, _ = fmt.Sscan(q.Get("$skip"), &skip)
		return 200, object{"value": encode(f.matching(strings.TrimPrefix(q.Get("searchCriteria.sourceRefName"), "refs/heads/"), q.Get("searchCriteria.status") == "active", skip), cut)}
	})
	f.handle("GET "+root+"/{id}", func(r *http.Request, _ object) (int, any) { return 200, full(f.find(r)) })
	f.handle("POST "+root, func(_ *http.Request, in object) (int, any) {
		p, why := f.open(f.need(in, "title"), f.need(in, "description"), strings.TrimPrefix(f.need(in, "sourceRefName"), "refs/heads/"), strings.TrimPrefix(f.need(in, "targetRefName"), "refs/heads/"))
		switch why {
		case "duplicate":
			return 409, object{"message": "TF401179: An active pull request for the source and target branch already exists."}
		case "difference":
			return 400, object{"message": "There are no changes between the branches: no commits between them"}
		}
		return 201, full(p)
	})
	f.handle("PATCH "+root+"/{id}", func(r *http.Request, in object) (int, any) {
		p := f.find(r)
		switch {
		case in["status"] == "abandoned":
			p.state = Closed
		case in["autoCompleteSetBy"] != nil:
			p.auto = f.need(in, "autoCompleteSetBy", "id") == "me"
		default:
			p.title, p.body = f.need(in, "title"), f.need(in, "description")
		}
		return 200, full(p)
	})
	f.handle("POST "+root+"/{id}/labels", func(r *http.Request, in object) (int, any) {
		p := f.find(r)
		p.labels = append(p.labels, f.need(in, "name"))
		return 200, object{}
	})
	f.handle("GET "+root+"/{id}/reviewers", func(r *http.Request, _ object) (int, any) {
		list := []object{}
		for _, id := range f.find(r).reviewers {
			list = append(list, object{"id": strings.ToUpper(id)})
		}
		return 200, object{"value": list}
	})
	f.handle("PUT "+root+"/{id}/reviewers/{reviewer}", func(r *http.Request, in object) (int, any) {
		p := f.find(r)
		if in["vote"] != 0.0 {
			f.t.Error(in)
		}
		p.reviewers = append(p.reviewers, r.PathValue("reviewer"))
		return 200, object{}
	})
	f.handle("POST "+root+"/{id}/threads", func(r *http.Request, in object) (int, any) {
		p := f.find(r)
		p.comments = append(p.comments, f.need(in["comments"].([]any)[0].(object), "content"))
		return 200, object{}
	})
}

// kinds are all hosts, and how a client is set up for each.
var kinds = map[Kind]struct {
	start      func(*fake)
	repository string // below the host
	api        string
	user       string
	labels     bool
	auto       bool
}{
	GitHub:          {start: githubFake, repository: "/org/repo.git", labels: true, auto: true},
	GitLab:          {start: gitlabFake, repository: "/org/repo.git", labels: true, auto: true},
	Gitea:           {start: giteaFake, repository: "/org/repo", labels: true, auto: true},
	Bitbucket:       {start: bitbucketFake, repository: "/org/repo", api: "/2.0", user: "bot"},
	BitbucketServer: {start: dataCenterFake, repository: "/scm/org/repo.git", auto: true},
	Azure:           {start: azureFake, repository: "/org/proj/_git/repo", labels: true, auto: true},
}

func start(t *testing.T, kind Kind) (*fake, Config) {
	t.Helper()
	k := kinds[kind]
	f := &fake{t: t, kind: kind, mux: http.NewServeMux()}
	k.start(f)
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	c := Config{Kind: kind, Repository: server.URL + k.repository, Token: "secret-token", Username: k.user, Insecure: true}
	if k.api != "" {
		c.API = server.URL + k.api
	}
	return f, c
}

package update

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/gittest"
	"github.com/sluice-cd/sluice/services/image-updater/internal/pullrequest"
)

// gitea answers, beside git, what Gitea's API does about pull requests.
type gitea struct {
	world *world
	mu    sync.Mutex
	pulls []*pull
	calls int  // that changed something
	sulks bool // and takes no label, reviewer or wish to merge
}

type pull struct {
	id                      int
	title, body, head, base string
	state                   string
	merged                  bool
	labels, reviewers       int
	merge                   []string // heads at which it was to be merged by itself
}

func (p *pull) json(head string) map[string]any {
	return map[string]any{
		"number": p.id, "html_url": fmt.Sprintf("https://example.com/pulls/%d", p.id), "title": p.title, "body": p.body, "state": p.state, "merged": p.merged,
		"head": map[string]any{"ref": p.head, "sha": head}, "base": map[string]any{"ref": p.base},
	}
}

func (g *gitea) serve(w http.ResponseWriter, r *http.Request) bool {
	rest, ok := strings.CutPrefix(r.URL.Path, "/api/v1/repos/org/apps/")
	if !ok {
		return false
	}
	what, rest, _ := strings.Cut(rest, "/")
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.Header.Get("Authorization") != "token x" {
		http.Error(w, `{"message":"no"}`, http.StatusUnauthorized)
		return true
	}
	code, out := 200, any([]any{})
	switch {
	case what == "labels" && r.URL.Query().Get("page") == "1":
		out = []any{map[string]any{"id": 7, "name": "images"}}
	case what == "pulls" && strings.Count(rest, "/") == 0:
		code, out = g.answer(r, rest)
	case what != "labels":
		code, out = g.furnish(r, rest)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(out)
	return true
}

// furnish answers what is asked for of a request that is there, as id/what.
func (g *gitea) furnish(r *http.Request, rest string) (int, any) {
	id, what, _ := strings.Cut(rest, "/")
	var in struct {
		Labels    []int
		Reviewers []string
		Head      string `json:"head_commit_id"`
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	g.calls++
	if g.sulks {
		return 422, map[string]any{"message": "not now"}
	}
	for _, p := range g.pulls {
		if fmt.Sprint(p.id) == id {
			p.labels += len(in.Labels)
			p.reviewers += len(in.Reviewers)
			if what == "merge" {
				p.merge = append(p.merge, in.Head)
			}
			return 201, nil
		}
	}
	return 404, nil
}

func (g *gitea) head(r *http.Request, p *pull) string {
	hash, _ := g.world.repo.Resolve(r.Context(), "refs/heads/"+p.head)
	return hash
}

func (g *gitea) answer(r *http.Request, id string) (int, any) {
	var in struct{ Title, Body, Head, Base string }
	if r.Method != http.MethodGet {
		g.calls++
		_ = json.NewDecoder(r.Body).Decode(&in)
	}
	if r.Method == http.MethodGet && id == "" {
		list := []any{}
		for _, p := range slices.Backward(g.pulls) {
			if r.URL.Query().Get("page") == "1" {
				list = append(list, p.json(g.head(r, p)))
			}
		}
		return 200, list
	}
	if r.Method == http.MethodPost {
		for _, p := range g.pulls {
			if p.head == in.Head && p.state == "open" {
				return 409, map[string]any{"message": "pull request already exists for these targets"}
			}
		}
		if _, err := g.world.repo.Resolve(r.Context(), "refs/heads/"+in.Head); err != nil {
			return 404, map[string]any{"message": "head branch does not exist"}
		}
		p := &pull{id: len(g.pulls) + 1, title: in.Title, body: in.Body, head: in.Head, base: in.Base, state: "open"}
		g.pulls = append(g.pulls, p)
		return 201, p.json(g.head(r, p))
	}
	for _, p := range g.pulls {
		if fmt.Sprint(p.id) == id {
			if r.Method == http.MethodPatch {
				p.title, p.body = in.Title, in.Body
			}
			return 200, p.json(g.head(r, p))
		}
	}
	return 404, map[string]any{"message": "not found"}
}

func (g *gitea) get() (pulls []pull, calls int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.pulls {
		pulls = append(pulls, *p)
	}
	return pulls, g.calls
}

func (g *gitea) end(id int, merged bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pulls[id-1].state, g.pulls[id-1].merged = "closed", merged
}

func (g *gitea) sulk(yes bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sulks = yes
}

func requesting(t *testing.T, notes map[string]string) (*world, *gitea) {
	w := newWorld(t, gittest.Options{Username: "jane", Password: "x"})
	g := &gitea{world: w, sulks: true}
	w.git.SetHook(g.serve)
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "git"}, StringData: map[string]string{"username": "jane", "password": "x"}})
	w.commit("first", map[string]string{"web.yaml": deployment, "db.yaml": strings.ReplaceAll(deployment, "web", "db")})
	w.start()
	w.source(func(r *sourcev1.GitRepository) { r.Spec.SecretRef = &meta.LocalObjectReference{Name: "git"} })
	w.policy("web", "*")
	w.policy("db", "*")
	w.automation(func(a *automationv1.ImageUpdateAutomation) {
		a.Annotations = map[string]string{requestAnnotation: "gitea"}
		for k, v := range notes {
			a.Annotations[k] = v
		}
	})
	return w, g
}

func TestOneRequestFollowsTheVersions(t *testing.T) {
	t.Parallel()
	w, g := requesting(t, map[string]string{titleAnnotation: "Bump {{ range .Changed.Changes }}{{ .NewValue }}{{ end }}"})
	first := w.gitOut("rev-parse", "main")
	w.choose("web", "1.1.0")
	w.until("a request", func() bool { pulls, _ := g.get(); return len(pulls) == 1 })
	pulls, _ := g.get()
	if p := pulls[0]; p.title != "Bump ghcr.io/org/web:1.1.0" || p.base != "main" || p.head != "sluice/"+w.namespace+"-auto" || !strings.Contains(p.body, "1.1.0") {
		t.Errorf("request is %+v", p)
	}
	if w.gitOut("rev-parse", "main") != first {
		t.Fatal("main moved")
	}
	w.request()
	_, calls := g.get()
	w.request()
	if _, again := g.get(); again != calls {
		t.Errorf("a run with nothing new changed the request (%d calls, then %d)", calls, again)
	}
	w.choose("web", "1.2.0")
	w.until("a refreshed request", func() bool { pulls, _ := g.get(); return pulls[0].title == "Bump ghcr.io/org/web:1.2.0" })
	if pulls, _ := g.get(); len(pulls) != 1 {
		t.Errorf("%d requests; want one", len(pulls))
	}

	// Closed by hand: held, also for the runs to come, until there is a newer version.
	g.end(1, false)
	w.request()
	w.until("a hold", func() bool { return w.condition(heldCondition).Reason == reasonClosed })
	if pulls, _ := g.get(); len(pulls) != 1 {
		t.Fatal("a request that was closed was opened again")
	}
	w.choose("web", "1.3.0")
	w.until("another request", func() bool { pulls, _ := g.get(); return len(pulls) == 2 })

	// Merged: nothing is left to do.
	branch := "sluice/" + w.namespace + "-auto"
	w.until("the branch", func() bool {
		out, _ := w.repo.Git(t.Context(), nil, "show", branch+":web.yaml")
		return strings.Contains(out, "1.3.0")
	})
	if err := w.repo.SetRef(t.Context(), "refs/heads/main", branch); err != nil {
		t.Fatal(err)
	}
	g.end(2, true)
	w.request()
	w.until("no hold", func() bool { return w.condition(heldCondition).Reason == "" })
	if pulls, _ := g.get(); len(pulls) != 2 {
		t.Errorf("%d requests; want 2", len(pulls))
	}
}

// TestWhatWasRefusedStaysOut: an image whose request was closed does not come again in the company of others, nor what was pushed for it.
func TestWhatWasRefusedStaysOut(t *testing.T) {
	t.Parallel()
	w, g := requesting(t, nil)
	branch := "sluice/" + w.namespace + "-auto"
	w.choose("web", "1.1.0")
	w.until("a request", func() bool { pulls, _ := g.get(); return len(pulls) == 1 })
	g.end(1, false)
	w.request()
	w.until("a hold", func() bool { return w.condition(heldCondition).Reason == reasonClosed })
	w.choose("db", "2.0.0")
	w.until("a request for the other", func() bool { pulls, _ := g.get(); return len(pulls) == 2 })
	if diff := w.gitOut("diff", "--name-only", "main", branch); diff != "db.yaml" {
		t.Errorf("the request changes %q", diff)
	}
	head := w.gitOut("rev-parse", branch)
	w.request()
	if c := w.condition(heldCondition); c.Reason != reasonClosed || !strings.Contains(c.Message, "web.yaml") || strings.Contains(c.Message, "db.yaml") {
		t.Errorf("Held is %+v", c)
	}
	if now := w.gitOut("rev-parse", branch); now != head {
		t.Error("a run with nothing new made a commit")
	}
	w.choose("web", "1.2.0")
	w.until("a newer version", func() bool { pulls, _ := g.get(); return strings.Contains(pulls[1].body, "1.2.0") })
	if diff := w.gitOut("diff", "--name-only", "main", branch); diff != "db.yaml\nweb.yaml" {
		t.Errorf("the request changes %q", diff)
	}
}

// TestOneGroupKeepsNoOther: what is wrong with the request of one group is told, and the others are served.
func TestOneGroupKeepsNoOther(t *testing.T) {
	t.Parallel()
	w, g := requesting(t, map[string]string{groupAnnotation: "policy"})
	hook("while read old new ref; do case $ref in *-db) echo no >&2; exit 1;; esac; done")(w)
	w.choose("db", "2.0.0")
	w.choose("web", "1.1.0")
	w.until("the other request", func() bool { pulls, _ := g.get(); return len(pulls) == 1 && strings.HasSuffix(pulls[0].head, "-web") })
	w.until("the refusal", func() bool { return w.condition(meta.ReadyCondition).Reason == reasonDeclined })
}

// TestRequestsStandOnTheirBase: also where another branch is checked out.
func TestRequestsStandOnTheirBase(t *testing.T) {
	t.Parallel()
	w, g := requesting(t, map[string]string{baseAnnotation: "release"})
	if err := w.repo.SetRef(t.Context(), "refs/heads/release", w.gitOut("rev-parse", "main")); err != nil {
		t.Fatal(err)
	}
	w.commit("unreleased", map[string]string{"note": "x"})
	w.choose("web", "1.1.0")
	w.until("a request", func() bool { pulls, _ := g.get(); return len(pulls) == 1 })
	pulls, _ := g.get()
	if diff := w.gitOut("diff", "--name-only", "release", pulls[0].head); diff != "web.yaml" || pulls[0].base != "release" {
		t.Errorf("the request to %s changes %q", pulls[0].base, diff)
	}
}

// TestRequestsAreCompleted: labels, reviewers and the wish to merge come later where the host does not take them at first, and once.
func TestRequestsAreCompleted(t *testing.T) {
	t.Parallel()
	w, g := requesting(t, map[string]string{labelsAnnotation: "images", reviewersAnnotation: "ann, bob", mergeAnnotation: "true"})
	w.choose("web", "1.1.0")
	w.until("what is missing is told", func() bool {
		c := w.condition(meta.ReadyCondition)
		return c.Status == metav1.ConditionFalse && c.Reason == reasonIncomplete && strings.Contains(c.Message, "https://example.com/pulls/1") &&
			strings.Contains(c.Message, "set labels") && strings.Contains(c.Message, "ask for a review") && strings.Contains(c.Message, "by itself")
	})
	w.until("an Event", func() bool { return w.told(reasonIncomplete) == 1 })
	if w.get().Status.LastPushCommit == "" || w.facts(bus.FactImageUpdated) != 1 {
		t.Error("the commit is not told of")
	}
	g.sulk(false)
	w.until("it is complete", func() bool { return w.condition(meta.ReadyCondition).Status == metav1.ConditionTrue })
	branch := "sluice/" + w.namespace + "-auto"
	first := w.gitOut("rev-parse", branch)
	w.request()
	w.choose("web", "1.2.0")
	w.until("another wish to merge", func() bool { pulls, _ := g.get(); return len(pulls[0].merge) == 2 })
	w.request()
	pulls, _ := g.get()
	if p := pulls[0]; len(pulls) != 1 || p.labels != 1 || p.reviewers != 2 || !slices.Equal(p.merge, []string{first, w.gitOut("rev-parse", branch)}) {
		t.Errorf("requests are %+v", pulls)
	}
	if got := w.facts(bus.FactImageUpdated); got != 2 {
		t.Errorf("%d facts about two commits", got)
	}
	// Whoever else pushes to the branch decides about the merge.
	if _, err := w.repo.Commit(t.Context(), gittest.Commit{Branch: branch, Message: "wait", Files: map[string]string{"note": "x"}}); err != nil {
		t.Fatal(err)
	}
	w.request()
	if pulls, _ := g.get(); len(pulls[0].merge) != 2 {
		t.Errorf("asked to merge at %q", pulls[0].merge)
	}
}

// TestWhatAHostCannotDoIsNotTriedAgain: other failures are.
func TestWhatAHostCannotDoIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	code := 201
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = w.Write([]byte(`{"id":1,"state":"OPEN"}`))
			return
		}
		w.WriteHeader(code)
	}))
	defer host.Close()
	c, err := pullrequest.New(pullrequest.Config{Kind: pullrequest.BitbucketServer, Repository: host.URL + "/scm/org/apps", Token: "x", Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	j := &job{target: &target{push: "auto", requests: &requests{client: c, labels: []string{"images"}, reviewers: []string{"ann"}}}, known: &record{Requests: map[string]furnished{}}}
	for _, final := range []bool{true, false} {
		var incomplete *incompleteError
		if err := j.furnish(t.Context(), pullrequest.Request{ID: 1}, "abc"); !errors.As(err, &incomplete) || incomplete.final != final {
			t.Errorf("%v; want it to be final: %v", err, final)
		}
		code, j.target.requests.reviewers = 409, []string{"bob"}
	}
}

func TestRequestsByPolicy(t *testing.T) {
	t.Parallel()
	w, g := requesting(t, map[string]string{groupAnnotation: "policy"})
	w.choose("web", "1.1.0")
	w.choose("db", "2.0.0")
	w.until("two requests", func() bool { pulls, _ := g.get(); return len(pulls) == 2 })
	for _, name := range []string{"web", "db"} {
		head := "sluice/" + w.namespace + "-auto-" + name
		if diff := w.gitOut("diff", "--name-only", "main", head); diff != name+".yaml" {
			t.Errorf("branch %s differs from main in %q", head, diff)
		}
	}
}

func TestRequestsGoToNoForeignHost(t *testing.T) {
	t.Parallel()
	w, _ := requesting(t, map[string]string{apiAnnotation: "http://127.0.0.1:1/api/v1"})
	w.until("a refusal", func() bool {
		c := w.condition(meta.ReadyCondition)
		return c.Reason == automationv1.InvalidSourceConfigReason && strings.Contains(c.Message, apiAnnotation)
	})
}

func TestGroups(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ group, policy, file, want string }{
		{"", "web", "a/b.yaml", ""},
		{"all", "web", "a/b.yaml", ""},
		{"policy", "web", "a/b.yaml", "web"},
		{"path", "web", "a/b.yaml", "a"},
		{"regex:^[a-z]+", "web-1", "", "web"},
		{"regex:^team-([a-z]+)-", "team-blue-web", "", "blue"},
		{"regex:^x", "web", "", "others"},
	} {
		f, err := grouping(c.group)
		if err != nil {
			t.Fatal(err)
		}
		if got := f(c.policy, c.file); got != c.want {
			t.Errorf("%s of %s is %q; want %q", c.group, c.policy, got, c.want)
		}
	}
	for _, bad := range []string{"regex:(", "team"} {
		if _, err := grouping(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if a, b := branchOf("x", "a/b"), branchOf("x", "a.b"); a == b {
		t.Errorf("two groups share the branch %s", a)
	}
}

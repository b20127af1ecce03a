package pullrequest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/sluice-cd/sluice/libs/githost"
	"github.com/sluice-cd/sluice/libs/plain"
)

type github struct {
	*transport
	repo githost.Repository
}

func newGitHub(t *transport, r githost.Repository) (driver, error) { return &github{t, r}, nil }

type githubPull struct {
	Number   int64   `json:"number"`
	NodeID   string  `json:"node_id"`
	HTMLURL  string  `json:"html_url"`
	Title    string  `json:"title"`
	Body     string  `json:"body"`
	State    string  `json:"state"`
	Merged   bool    `json:"merged"`
	MergedAt *string `json:"merged_at"`
	Head     struct {
		Ref  string            `json:"ref"`
		SHA  string            `json:"sha"`
		Repo *githubRepository `json:"repo"` // null where it is not there any more
	} `json:"head"`
	Base struct {
		Ref  string            `json:"ref"`
		Repo *githubRepository `json:"repo"`
	} `json:"base"`
}

type githubRepository struct {
	FullName string `json:"full_name"`
}

func (p githubPull) fork() bool {
	head, base := p.Head.Repo, p.Base.Repo
	return base != nil && (head == nil || head.FullName != base.FullName)
}

func (p githubPull) request() Request {
	r := Request{ID: p.Number, URL: p.HTMLURL, Title: p.Title, Body: p.Body, Head: p.Head.Ref, Base: p.Base.Ref,
		Commit: p.Head.SHA, State: Open, Group: groupOf(p.Body), node: p.NodeID, fork: p.fork()}
	switch {
	case p.Merged || p.MergedAt != nil:
		r.State = Merged
	case p.State == "closed":
		r.State = Closed
	}
	return r
}

func (g *github) path(rest ...any) string {
	return githost.Path(append([]any{"repos", g.repo.Owner(), g.repo.Name()}, rest...)...)
}

func (g *github) list(ctx context.Context, head string) ([]Request, error) {
	query := url.Values{"state": {"open"}, "sort": {"created"}, "direction": {"desc"}, "per_page": {fmt.Sprint(perPage)}}
	if head != "" {
		query.Set("state", "all")
		query.Set("head", g.repo.Owner()+":"+head)
	}
	return pages(func(page int) ([]Request, error) {
		query.Set("page", fmt.Sprint(page))
		var pulls []githubPull
		err := g.call(ctx, "GET", g.path("pulls"), query, nil, &pulls)
		return convert(pulls, githubPull.request), err
	})
}

func (g *github) get(ctx context.Context, id int64) (Request, error) {
	var p githubPull
	err := g.call(ctx, "GET", g.path("pulls", id), nil, nil, &p)
	return p.request(), err
}

func (g *github) create(ctx context.Context, d Draft) (Request, error) {
	var p githubPull
	in := map[string]any{"title": d.Title, "body": d.Body, "head": d.Head, "base": d.Base, "maintainer_can_modify": true}
	if err := g.call(ctx, "POST", g.path("pulls"), nil, in, &p); err != nil {
		return Request{}, err
	}
	return p.request(), nil
}

func (g *github) update(ctx context.Context, r Request, d Draft) error {
	return g.call(ctx, "PATCH", g.path("pulls", r.ID), nil, map[string]any{"title": d.Title, "body": d.Body}, nil)
}

func (g *github) label(ctx context.Context, r Request, labels []string) error {
	return g.call(ctx, "POST", g.path("issues", r.ID, "labels"), nil, map[string]any{"labels": labels}, nil)
}

func (g *github) ask(ctx context.Context, r Request, names []string) error {
	return g.call(ctx, "POST", g.path("pulls", r.ID, "requested_reviewers"), nil, reviewers(names), nil)
}

// reviewers tells people from teams, which are written owner/team.
func reviewers(names []string) map[string]any {
	people, teams := []string{}, []string{}
	for _, name := range names {
		if _, team, ok := strings.Cut(name, "/"); ok {
			teams = append(teams, team)
			continue
		}
		people = append(people, name)
	}
	return map[string]any{"reviewers": people, "team_reviewers": teams}
}

const enableAutoMerge = `mutation($id: ID!, $head: GitObjectID!) {
  enablePullRequestAutoMerge(input: {pullRequestId: $id, expectedHeadOid: $head}) { clientMutationId }
}`

// autoMerge goes by GitHub's other API, the only one that has it. A request
// whose checks have all passed cannot wait for them, so it is merged.
func (g *github) autoMerge(ctx context.Context, r Request) error {
	other := *g.transport
	base := *g.base
	base.Path = strings.TrimSuffix(strings.TrimSuffix(base.Path, "/v3"), "/")
	other.base = &base
	var out struct {
		Errors []struct {
			Message string `json:"message"`
		} `json:"errors"`
	}
	in := map[string]any{"query": enableAutoMerge, "variables": map[string]any{"id": r.node, "head": r.Commit}}
	if err := other.call(ctx, "POST", "/graphql", nil, in, &out); err != nil {
		return err
	}
	if len(out.Errors) == 0 {
		return nil
	}
	message := plain.Line(out.Errors[0].Message, 200)
	if strings.Contains(message, "clean status") {
		return g.call(ctx, "PUT", g.path("pulls", r.ID, "merge"), nil, map[string]any{"sha": r.Commit}, nil)
	}
	if strings.Contains(strings.ToLower(message), "auto merge is not allowed") {
		return fmt.Errorf("%w: %s", ErrUnsupported, message)
	}
	return fmt.Errorf("%w: %s", ErrRefused, message)
}

func (g *github) close(ctx context.Context, r Request) error {
	return g.call(ctx, "PATCH", g.path("pulls", r.ID), nil, map[string]any{"state": "closed"}, nil)
}

func (g *github) comment(ctx context.Context, r Request, text string) error {
	return g.call(ctx, "POST", g.path("issues", r.ID, "comments"), nil, map[string]any{"body": text}, nil)
}

func (g *github) maxBody() int { return 60_000 }

var errPages = errors.New("too many pages")

// pages reads pages, from 1, until one is short.
func pages(read func(page int) ([]Request, error)) ([]Request, error) {
	var all []Request
	for page := 1; page <= maxPages; page++ {
		some, err := read(page)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		if len(some) < perPage {
			return all, nil
		}
	}
	return all, fmt.Errorf("%w: %w", ErrRefused, errPages)
}

func convert[T any](from []T, to func(T) Request) []Request {
	all := make([]Request, 0, len(from))
	for _, f := range from {
		all = append(all, to(f))
	}
	return all
}

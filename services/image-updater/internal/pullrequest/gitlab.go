package pullrequest

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/sluice-cd/sluice/libs/githost"
)

type gitlab struct {
	*transport
	repo githost.Repository
}

func newGitLab(t *transport, r githost.Repository) (driver, error) { return &gitlab{t, r}, nil }

type gitlabRequest struct {
	IID          int64  `json:"iid"`
	WebURL       string `json:"web_url"`
	Title        string `json:"title"`
	Description  string `json:"description"`
	State        string `json:"state"`
	SourceBranch string `json:"source_branch"`
	TargetBranch string `json:"target_branch"`
	Source       int64  `json:"source_project_id"`
	Target       int64  `json:"target_project_id"`
	SHA          string `json:"sha"`
	Reviewers    []struct {
		ID int64 `json:"id"`
	} `json:"reviewers"`
}

func (m gitlabRequest) request() Request {
	states := map[string]State{"opened": Open, "locked": Open, "merged": Merged, "closed": Closed}
	return Request{ID: m.IID, URL: m.WebURL, Title: m.Title, Body: m.Description, Head: m.SourceBranch, Base: m.TargetBranch,
		Commit: m.SHA, State: states[m.State], Group: groupOf(m.Description), fork: m.Source != m.Target}
}

// path names the project by its whole path as one segment.
func (g *gitlab) path(rest ...any) string {
	return githost.Path(append([]any{"projects", strings.Join(g.repo.Path, "/"), "merge_requests"}, rest...)...)
}

func (g *gitlab) list(ctx context.Context, head string) ([]Request, error) {
	query := url.Values{"state": {"opened"}, "order_by": {"created_at"}, "sort": {"desc"}, "scope": {"all"}, "per_page": {fmt.Sprint(perPage)}}
	if head != "" {
		query.Set("state", "all")
		query.Set("source_branch", head)
	}
	return pages(func(page int) ([]Request, error) {
		query.Set("page", fmt.Sprint(page))
		var found []gitlabRequest
		err := g.call(ctx, "GET", g.path(), query, nil, &found)
		return convert(found, gitlabRequest.request), err
	})
}

func (g *gitlab) get(ctx context.Context, id int64) (Request, error) {
	var m gitlabRequest
	err := g.call(ctx, "GET", g.path(id), nil, nil, &m)
	return m.request(), err
}

func (g *gitlab) create(ctx context.Context, d Draft) (Request, error) {
	var m gitlabRequest
	in := map[string]any{"source_branch": d.Head, "target_branch": d.Base, "title": d.Title, "description": d.Body}
	if err := g.call(ctx, "POST", g.path(), nil, in, &m); err != nil {
		return Request{}, err
	}
	return m.request(), nil
}

func (g *gitlab) update(ctx context.Context, r Request, d Draft) error {
	return g.call(ctx, "PUT", g.path(r.ID), nil, map[string]any{"title": d.Title, "description": d.Body}, nil)
}

func (g *gitlab) label(ctx context.Context, r Request, labels []string) error {
	return g.call(ctx, "PUT", g.path(r.ID), nil, map[string]any{"add_labels": strings.Join(labels, ",")}, nil)
}

// ask adds the reviewers to those that there are: what is left out of the list would be taken away.
func (g *gitlab) ask(ctx context.Context, r Request, names []string) error {
	var m gitlabRequest
	if err := g.call(ctx, "GET", g.path(r.ID), nil, nil, &m); err != nil {
		return fmt.Errorf("look up reviewers: %w", err)
	}
	var ids []int64
	for _, r := range m.Reviewers {
		ids = append(ids, r.ID)
	}
	before := len(ids)
	for _, name := range names {
		id, err := g.user(ctx, name)
		if err != nil {
			return err
		}
		ids = appendNew(ids, id)
	}
	if len(ids) == before {
		return nil
	}
	return g.call(ctx, "PUT", g.path(m.IID), nil, map[string]any{"reviewer_ids": ids}, nil)
}

func (g *gitlab) user(ctx context.Context, name string) (int64, error) {
	var users []struct {
		ID       int64  `json:"id"`
		Username string `json:"username"`
	}
	if err := g.call(ctx, "GET", "/users", url.Values{"username": {name}}, nil, &users); err != nil {
		return 0, fmt.Errorf("look up reviewer %s: %w", name, err)
	}
	for _, u := range users {
		if strings.EqualFold(u.Username, name) {
			return u.ID, nil
		}
	}
	return 0, fmt.Errorf("%w: reviewer %s", ErrNotFound, name)
}

func (g *gitlab) autoMerge(ctx context.Context, r Request) error {
	// The second name is that of servers before 17.11.
	in := map[string]any{"auto_merge": true, "merge_when_pipeline_succeeds": true, "sha": r.Commit}
	return g.call(ctx, "PUT", g.path(r.ID, "merge"), nil, in, nil)
}

func (g *gitlab) close(ctx context.Context, r Request) error {
	return g.call(ctx, "PUT", g.path(r.ID), nil, map[string]any{"state_event": "close"}, nil)
}

func (g *gitlab) comment(ctx context.Context, r Request, text string) error {
	return g.call(ctx, "POST", g.path(r.ID, "notes"), nil, map[string]any{"body": text}, nil)
}

func (g *gitlab) maxBody() int { return 60_000 }

func appendNew[T comparable](list []T, v T) []T {
	for _, have := range list {
		if have == v {
			return list
		}
	}
	return append(list, v)
}

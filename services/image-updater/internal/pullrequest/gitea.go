package pullrequest

import (
	"context"
	"fmt"
	"net/url"

	"github.com/sluice-cd/sluice/libs/githost"
)

// gitea has GitHub's shapes in most places.
type gitea struct{ github }

func newGitea(t *transport, r githost.Repository) (driver, error) { return &gitea{github{t, r}}, nil }

// list filters by itself: the API cannot. Of closed requests it sees the newest
// few hundred.
func (g *gitea) list(ctx context.Context, head string) ([]Request, error) {
	state := "open"
	if head != "" {
		state = "all"
	}
	var all []Request
	for page := 1; page <= maxPages; page++ {
		query := url.Values{"state": {state}, "limit": {fmt.Sprint(perPage)}, "page": {fmt.Sprint(page)}}
		var pulls []githubPull
		if err := g.call(ctx, "GET", g.path("pulls"), query, nil, &pulls); err != nil {
			return nil, err
		}
		for _, p := range pulls {
			if head == "" || p.Head.Ref == head {
				all = append(all, p.request())
			}
		}
		if len(pulls) == 0 { // a server may give fewer than asked for
			break
		}
	}
	return all, nil
}

func (g *gitea) create(ctx context.Context, d Draft) (Request, error) {
	var p githubPull
	in := map[string]any{"title": d.Title, "body": d.Body, "head": d.Head, "base": d.Base}
	if err := g.call(ctx, "POST", g.path("pulls"), nil, in, &p); err != nil {
		return Request{}, err
	}
	return p.request(), g.decorate(ctx, p.Number, d)
}

func (g *gitea) update(ctx context.Context, r Request, d Draft) error {
	if err := g.call(ctx, "PATCH", g.path("pulls", r.ID), nil, map[string]any{"title": d.Title, "body": d.Body}, nil); err != nil {
		return err
	}
	return g.decorate(ctx, r.ID, d)
}

func (g *gitea) decorate(ctx context.Context, id int64, d Draft) error {
	if len(d.Labels) > 0 {
		ids, err := g.labels(ctx, d.Labels)
		if err != nil {
			return err
		}
		if err := g.call(ctx, "POST", g.path("issues", id, "labels"), nil, map[string]any{"labels": ids}, nil); err != nil {
			return fmt.Errorf("set labels: %w", err)
		}
	}
	if len(d.Reviewers) > 0 {
		if err := g.call(ctx, "POST", g.path("pulls", id, "requested_reviewers"), nil, reviewers(d), nil); err != nil {
			return fmt.Errorf("ask reviewers: %w", err)
		}
	}
	return nil
}

// labels are the ids of labels that the repository has.
func (g *gitea) labels(ctx context.Context, names []string) ([]int64, error) {
	known := map[string]int64{}
	for page := 1; page <= maxPages; page++ {
		var some []struct {
			ID   int64  `json:"id"`
			Name string `json:"name"`
		}
		query := url.Values{"limit": {fmt.Sprint(perPage)}, "page": {fmt.Sprint(page)}}
		if err := g.call(ctx, "GET", g.path("labels"), query, nil, &some); err != nil {
			return nil, fmt.Errorf("look up labels: %w", err)
		}
		for _, l := range some {
			known[l.Name] = l.ID
		}
		if len(some) == 0 {
			break
		}
	}
	var ids []int64
	for _, name := range names {
		id, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("%w: label %q", ErrNotFound, name)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func (g *gitea) autoMerge(ctx context.Context, r Request) error {
	in := map[string]any{"Do": "merge", "merge_when_checks_succeed": true, "head_commit_id": r.Commit}
	return g.call(ctx, "POST", g.path("pulls", r.ID, "merge"), nil, in, nil)
}

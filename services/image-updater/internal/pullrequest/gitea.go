package pullrequest

import (
	"context"
	"fmt"
	"net/url"
	"strings"

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
	return p.request(), nil
}

func (g *gitea) label(ctx context.Context, r Request, names []string) error {
	ids, err := g.labels(ctx, names)
	if err != nil {
		return err
	}
	return g.call(ctx, "POST", g.path("issues", r.ID, "labels"), nil, map[string]any{"labels": ids}, nil)
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
	err := g.call(ctx, "POST", g.path("pulls", r.ID, "merge"), nil, in, nil)
	if err != nil && strings.Contains(err.Error(), "already scheduled") {
		return nil
	}
	return err
}

package pullrequest

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/sluice-cd/sluice/libs/githost"
)

const azureVersion = "7.1"

type azure struct {
	*transport
	project []any // organization or collection, project
	name    string
	web     string
}

func newAzure(t *transport, r githost.Repository) (driver, error) {
	project, name, err := r.Azure()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	a := &azure{transport: t, name: name}
	for _, p := range project {
		a.project = append(a.project, p)
	}
	a.web = t.base.String() + githost.Path(a.project...) + githost.Path("_git", a.name, "pullrequest")
	return a, nil
}

type azurePull struct {
	ID          int64  `json:"pullRequestId"`
	Title       string `json:"title"`
	Description string `json:"description"`
	Status      string `json:"status"`
	Source      string `json:"sourceRefName"`
	Target      string `json:"targetRefName"`
	Commit      struct {
		ID string `json:"commitId"`
	} `json:"lastMergeSourceCommit"`
	CreatedBy struct {
		ID string `json:"id"`
	} `json:"createdBy"`
	Fork *struct{} `json:"forkSource"`
}

func (a *azure) request(p azurePull) Request {
	states := map[string]State{"active": Open, "completed": Merged, "abandoned": Closed}
	return Request{ID: p.ID, URL: fmt.Sprintf("%s/%d", a.web, p.ID), Title: p.Title, Body: p.Description,
		Head: strings.TrimPrefix(p.Source, "refs/heads/"), Base: strings.TrimPrefix(p.Target, "refs/heads/"),
		Commit: p.Commit.ID, State: states[p.Status], Group: groupOf(p.Description), author: p.CreatedBy.ID, fork: p.Fork != nil}
}

func (a *azure) path(rest ...any) string {
	segments := append(slices.Clone(a.project), "_apis", "git", "repositories", a.name, "pullrequests")
	return githost.Path(append(segments, rest...)...)
}

func (a *azure) query() url.Values { return url.Values{"api-version": {azureVersion}} }

func (a *azure) list(ctx context.Context, head string) ([]Request, error) {
	query := a.query()
	query.Set("searchCriteria.status", "active")
	query.Set("$top", fmt.Sprint(perPage))
	if head != "" {
		query.Set("searchCriteria.status", "all")
		query.Set("searchCriteria.sourceRefName", "refs/heads/"+head)
	}
	return pages(func(page int) ([]Request, error) {
		query.Set("$skip", fmt.Sprint((page-1)*perPage))
		var found struct {
			Value []azurePull `json:"value"`
		}
		err := a.call(ctx, "GET", a.path(), query, nil, &found)
		return convert(found.Value, a.request), err
	})
}

func (a *azure) get(ctx context.Context, id int64) (Request, error) {
	var p azurePull
	err := a.call(ctx, "GET", a.path(id), a.query(), nil, &p)
	return a.request(p), err
}

func (a *azure) create(ctx context.Context, d Draft) (Request, error) {
	in := map[string]any{"sourceRefName": "refs/heads/" + d.Head, "targetRefName": "refs/heads/" + d.Base, "title": d.Title, "description": d.Body}
	var p azurePull
	if err := a.call(ctx, "POST", a.path(), a.query(), in, &p); err != nil {
		return Request{}, err
	}
	return a.request(p), nil
}

func (a *azure) update(ctx context.Context, r Request, d Draft) error {
	return a.patch(ctx, r, map[string]any{"title": d.Title, "description": d.Body})
}

func (a *azure) label(ctx context.Context, r Request, labels []string) error {
	for _, l := range labels {
		if err := a.call(ctx, "POST", a.path(r.ID, "labels"), a.query(), map[string]any{"name": l}, nil); err != nil {
			return fmt.Errorf("set label %q: %w", l, err)
		}
	}
	return nil
}

// ask leaves out those who were asked: asking again would take back a vote.
func (a *azure) ask(ctx context.Context, r Request, names []string) error {
	var have struct {
		Value []struct {
			ID string `json:"id"`
		} `json:"value"`
	}
	if err := a.call(ctx, "GET", a.path(r.ID, "reviewers"), a.query(), nil, &have); err != nil {
		return fmt.Errorf("look up reviewers: %w", err)
	}
	asked := map[string]bool{}
	for _, h := range have.Value {
		asked[strings.ToLower(h.ID)] = true
	}
	for _, id := range names {
		if asked[strings.ToLower(id)] {
			continue
		}
		if err := a.call(ctx, "PUT", a.path(r.ID, "reviewers", id), a.query(), map[string]any{"vote": 0}, nil); err != nil {
			return fmt.Errorf("ask reviewer %s: %w", id, err)
		}
	}
	return nil
}

func (a *azure) patch(ctx context.Context, r Request, in map[string]any) error {
	return a.call(ctx, "PATCH", a.path(r.ID), a.query(), in, nil)
}

// autoMerge completes in the name of who opened the request.
func (a *azure) autoMerge(ctx context.Context, r Request) error {
	return a.patch(ctx, r, map[string]any{"autoCompleteSetBy": map[string]any{"id": r.author}})
}

func (a *azure) close(ctx context.Context, r Request) error {
	return a.patch(ctx, r, map[string]any{"status": "abandoned"})
}

func (a *azure) comment(ctx context.Context, r Request, text string) error {
	in := map[string]any{"status": "active", "comments": []map[string]any{{"parentCommentId": 0, "content": text, "commentType": "text"}}}
	return a.call(ctx, "POST", a.path(r.ID, "threads"), a.query(), in, nil)
}

func (a *azure) maxBody() int { return 4000 }

package pullrequest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/sluice-cd/sluice/libs/githost"
)

// dataCenter is Bitbucket Data Center.
type dataCenter struct {
	*transport
	project, name string
}

// newDataCenter takes the project and the repository from an address as the
// server gives them: scm/project/name, or project/name by SSH.
func newDataCenter(t *transport, r githost.Repository) (driver, error) {
	return &dataCenter{t, r.Path[len(r.Path)-2], r.Name()}, nil
}

type dataCenterPull struct {
	ID          int64  `json:"id"`
	Version     int64  `json:"version"`
	Title       string `json:"title"`
	Description string `json:"description"`
	State       string `json:"state"`
	FromRef     struct {
		DisplayID    string `json:"displayId"`
		LatestCommit string `json:"latestCommit"`

		Repository dataCenterRepository `json:"repository"`
	} `json:"fromRef"`
	ToRef struct {
		ID        string `json:"id"`
		DisplayID string `json:"displayId"`

		Repository dataCenterRepository `json:"repository"`
	} `json:"toRef"`
	Reviewers []dataCenterReviewer `json:"reviewers"`
	Links     struct {
		Self []struct {
			Href string `json:"href"`
		} `json:"self"`
	} `json:"links"`
}

type dataCenterRepository struct {
	ID int64 `json:"id"`
}

type dataCenterReviewer struct {
	User struct {
		Name string `json:"name"`
	} `json:"user"`
}

func (p dataCenterPull) request() Request {
	states := map[string]State{"OPEN": Open, "MERGED": Merged, "DECLINED": Closed}
	r := Request{ID: p.ID, Title: p.Title, Body: p.Description, Head: p.FromRef.DisplayID, Base: p.ToRef.DisplayID,
		Commit: p.FromRef.LatestCommit, State: states[p.State], Group: groupOf(p.Description), version: p.Version,
		fork: p.FromRef.Repository != p.ToRef.Repository}
	if len(p.Links.Self) > 0 {
		r.URL = p.Links.Self[0].Href
	}
	return r
}

func (b *dataCenter) path(rest ...any) string {
	return "/rest/api/latest" + githost.Path(append([]any{"projects", b.project, "repos", b.name, "pull-requests"}, rest...)...)
}

func (b *dataCenter) list(ctx context.Context, head string) ([]Request, error) {
	query := url.Values{"state": {"OPEN"}, "order": {"NEWEST"}, "limit": {fmt.Sprint(perPage)}}
	if head != "" {
		query.Set("state", "ALL")
		query.Set("at", "refs/heads/"+head)
		query.Set("direction", "OUTGOING")
	}
	var all []Request
	for range maxPages {
		var found struct {
			Values     []dataCenterPull `json:"values"`
			IsLastPage bool             `json:"isLastPage"`
			Next       int64            `json:"nextPageStart"`
		}
		if err := b.call(ctx, "GET", b.path(), query, nil, &found); err != nil {
			return nil, err
		}
		all = append(all, convert(found.Values, dataCenterPull.request)...)
		if found.IsLastPage {
			return all, nil
		}
		query.Set("start", fmt.Sprint(found.Next))
	}
	return all, fmt.Errorf("%w: %w", ErrRefused, errPages)
}

func (b *dataCenter) read(ctx context.Context, id int64) (dataCenterPull, error) {
	var p dataCenterPull
	err := b.call(ctx, "GET", b.path(id), nil, nil, &p)
	return p, err
}

func (b *dataCenter) get(ctx context.Context, id int64) (Request, error) {
	p, err := b.read(ctx, id)
	return p.request(), err
}

func (b *dataCenter) create(ctx context.Context, d Draft) (Request, error) {
	ref := func(branch string) map[string]any {
		return map[string]any{"id": "refs/heads/" + branch, "repository": map[string]any{"slug": b.name, "project": map[string]any{"key": b.project}}}
	}
	in := map[string]any{"title": d.Title, "description": d.Body, "fromRef": ref(d.Head), "toRef": ref(d.Base)}
	var p dataCenterPull
	if err := b.call(ctx, "POST", b.path(), nil, in, &p); err != nil {
		return Request{}, err
	}
	return p.request(), nil
}

func (b *dataCenter) update(ctx context.Context, r Request, d Draft) error {
	p, err := b.read(ctx, r.ID) // what is left out of an update would be taken away
	if err != nil {
		return err
	}
	in := map[string]any{"version": p.Version, "title": d.Title, "description": d.Body, "reviewers": dataCenterUsers(p.Reviewers, nil)}
	return b.call(ctx, "PUT", b.path(r.ID), nil, in, nil)
}

func (b *dataCenter) ask(ctx context.Context, r Request, names []string) error {
	p, err := b.read(ctx, r.ID)
	if err == nil {
		in := map[string]any{"version": p.Version, "title": p.Title, "description": p.Description, "reviewers": dataCenterUsers(p.Reviewers, names)}
		err = b.call(ctx, "PUT", b.path(r.ID), nil, in, nil)
	}
	return err
}

func (b *dataCenter) label(_ context.Context, _ Request, labels []string) error {
	return fmt.Errorf("%w: Bitbucket has none", ErrUnsupported)
}

func dataCenterUsers(have []dataCenterReviewer, names []string) []dataCenterReviewer {
	all := append([]dataCenterReviewer{}, have...)
	for _, name := range names {
		var r dataCenterReviewer
		r.User.Name = name
		known := false
		for _, h := range have {
			known = known || strings.EqualFold(h.User.Name, name)
		}
		if !known {
			all = append(all, r)
		}
	}
	return all
}

// autoMerge needs a server of 8.15 or newer; older ones merge at once, if their
// checks allow it.
func (b *dataCenter) autoMerge(ctx context.Context, r Request) error {
	err := b.call(ctx, "POST", b.path(r.ID, "merge"), b.version(r), map[string]any{"autoMerge": true, "version": r.version}, nil)
	if errors.Is(err, errForbidden) { // who may not merge gets 401
		return fmt.Errorf("%w: auto-merge is not enabled for the repository", ErrUnsupported)
	}
	return err
}

func (b *dataCenter) close(ctx context.Context, r Request) error {
	return b.call(ctx, "POST", b.path(r.ID, "decline"), b.version(r), map[string]any{"version": r.version}, nil)
}

func (b *dataCenter) version(r Request) url.Values {
	return url.Values{"version": {fmt.Sprint(r.version)}}
}

func (b *dataCenter) comment(ctx context.Context, r Request, text string) error {
	return b.call(ctx, "POST", b.path(r.ID, "comments"), nil, map[string]any{"text": text}, nil)
}

func (b *dataCenter) maxBody() int { return 30_000 }

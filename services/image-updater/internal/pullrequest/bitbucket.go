package pullrequest

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/sluice-cd/sluice/libs/githost"
)

type bitbucket struct {
	*transport
	repo githost.Repository
}

func newBitbucket(t *transport, r githost.Repository) (driver, error) { return &bitbucket{t, r}, nil }

type bitbucketUser struct {
	UUID      string `json:"uuid,omitempty"`
	AccountID string `json:"account_id,omitempty"`
}

type bitbucketPull struct {
	ID          int64  `json:"id"`
	Title       string `json:"title"`
	Description string `json:"description"`
	Summary     struct {
		Raw string `json:"raw"`
	} `json:"summary"`
	State       string          `json:"state"`
	Reviewers   []bitbucketUser `json:"reviewers"`
	Source      bitbucketEnd    `json:"source"`
	Destination bitbucketEnd    `json:"destination"`
	Links       struct {
		HTML struct {
			Href string `json:"href"`
		} `json:"html"`
	} `json:"links"`
}

type bitbucketEnd struct {
	Branch struct {
		Name string `json:"name"`
	} `json:"branch"`
	Commit struct {
		Hash string `json:"hash"`
	} `json:"commit"`
	Repository struct {
		FullName string `json:"full_name"`
	} `json:"repository"`
}

// text is the description. The published schema has it as summary alone; the host says both.
func (p bitbucketPull) text() string { return cmp.Or(p.Description, p.Summary.Raw) }

func (p bitbucketPull) request() Request {
	states := map[string]State{"OPEN": Open, "MERGED": Merged, "DECLINED": Closed, "SUPERSEDED": Closed}
	return Request{ID: p.ID, URL: p.Links.HTML.Href, Title: p.Title, Body: p.text(), Head: p.Source.Branch.Name,
		Base: p.Destination.Branch.Name, Commit: p.Source.Commit.Hash, State: states[p.State], Group: groupOf(p.text()),
		fork: p.Source.Repository.FullName != p.Destination.Repository.FullName}
}

func (b *bitbucket) path(rest ...any) string {
	return githost.Path(append([]any{"repositories", b.repo.Owner(), b.repo.Name(), "pullrequests"}, rest...)...)
}

func (b *bitbucket) list(ctx context.Context, head string) ([]Request, error) {
	query := url.Values{"state": {"OPEN"}, "sort": {"-created_on"}, "pagelen": {fmt.Sprint(perPage)}}
	if head != "" { // CheckBranch lets no quote through
		query["state"] = []string{"OPEN", "MERGED", "DECLINED", "SUPERSEDED"}
		query.Set("q", `source.branch.name = "`+head+`"`)
	}
	var all []Request
	for range maxPages {
		var found struct {
			Values []bitbucketPull `json:"values"`
			Next   string          `json:"next"`
		}
		if err := b.call(ctx, "GET", b.path(), query, nil, &found); err != nil {
			return nil, err
		}
		all = append(all, convert(found.Values, bitbucketPull.request)...)
		if found.Next == "" {
			return all, nil
		}
		next, err := url.Parse(found.Next) // of which nothing but the query is believed
		if err != nil {
			return nil, fmt.Errorf("%w: address of the next page cannot be understood", ErrUnavailable)
		}
		query = next.Query()
	}
	return all, fmt.Errorf("%w: %w", ErrRefused, errPages)
}

func (b *bitbucket) read(ctx context.Context, id int64) (bitbucketPull, error) {
	var p bitbucketPull
	err := b.call(ctx, "GET", b.path(id), nil, nil, &p)
	return p, err
}

func (b *bitbucket) get(ctx context.Context, id int64) (Request, error) {
	p, err := b.read(ctx, id)
	return p.request(), err
}

func (b *bitbucket) create(ctx context.Context, d Draft) (Request, error) {
	branch := func(name string) map[string]any { return map[string]any{"branch": map[string]any{"name": name}} }
	in := map[string]any{"title": d.Title, "description": d.Body, "source": branch(d.Head), "destination": branch(d.Base)}
	var p bitbucketPull
	if err := b.call(ctx, "POST", b.path(), nil, in, &p); err != nil {
		return Request{}, err
	}
	return p.request(), nil
}

func (b *bitbucket) update(ctx context.Context, r Request, d Draft) error {
	p, err := b.read(ctx, r.ID) // what is left out of an update would be taken away
	if err != nil {
		return err
	}
	in := map[string]any{"title": d.Title, "description": d.Body, "reviewers": bitbucketUsers(p.Reviewers, nil)}
	return b.call(ctx, "PUT", b.path(r.ID), nil, in, nil)
}

func (b *bitbucket) ask(ctx context.Context, r Request, names []string) error {
	p, err := b.read(ctx, r.ID)
	if err == nil {
		in := map[string]any{"title": p.Title, "description": p.text(), "reviewers": bitbucketUsers(p.Reviewers, names)}
		err = b.call(ctx, "PUT", b.path(r.ID), nil, in, nil)
	}
	return err
}

func (b *bitbucket) label(_ context.Context, _ Request, labels []string) error {
	return fmt.Errorf("%w: Bitbucket Cloud has none", ErrUnsupported)
}

// bitbucketUsers adds names to users; a name in braces is a uuid, else an account id.
func bitbucketUsers(have []bitbucketUser, names []string) []bitbucketUser {
	users := []bitbucketUser{}
	for _, u := range have {
		users = append(users, bitbucketUser{UUID: u.UUID})
	}
	for _, name := range names {
		user := bitbucketUser{AccountID: name}
		if strings.HasPrefix(name, "{") {
			user = bitbucketUser{UUID: name}
		}
		known := false
		for _, u := range have {
			known = known || user.UUID != "" && u.UUID == user.UUID || user.AccountID != "" && u.AccountID == user.AccountID
		}
		if !known {
			users = append(users, user)
		}
	}
	return users
}

func (b *bitbucket) autoMerge(context.Context, Request) error {
	return fmt.Errorf("%w: Bitbucket Cloud has no call for it", ErrUnsupported)
}

func (b *bitbucket) close(ctx context.Context, r Request) error {
	return b.call(ctx, "POST", b.path(r.ID, "decline"), nil, nil, nil)
}

func (b *bitbucket) comment(ctx context.Context, r Request, text string) error {
	return b.call(ctx, "POST", b.path(r.ID, "comments"), nil, map[string]any{"content": map[string]any{"raw": text}}, nil)
}

func (b *bitbucket) maxBody() int { return 30_000 }

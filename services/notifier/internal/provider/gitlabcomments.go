package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// gitlabComment is how many characters GitLab takes for a note, with room for what it adds.
const gitlabComment = 900_000

// newGitLabComments comments on merge requests at GitLab.
func newGitLabComments(s Settings) (Sender, Traits, error) {
	g, err := newGitLabForge(s)
	if err != nil {
		return nil, Traits{}, err
	}
	return newComments(s, g.forge, gitlabComments{g}, mergeMarker, gitlabComment)
}

type gitlabComments struct{ gitlab }

type gitlabNote struct {
	ID     json.Number `json:"id"`
	Body   string      `json:"body"`
	Author struct {
		ID json.Number `json:"id"`
	} `json:"author"`
}

func (g gitlabComments) find(ctx context.Context, request int64, marker string) (string, error) {
	me, err := g.user(ctx)
	if err != nil {
		return "", err
	}
	for page := 1; page <= commentPages; page++ {
		var found []gitlabNote
		err := g.call(ctx, "GET", g.path("merge_requests", request, "notes"), params(
			"sort", "asc", "order_by", "created_at", "per_page", fmt.Sprint(commentPerPage), "page", fmt.Sprint(page)), nil, &found)
		if err != nil {
			return "", err
		}
		for _, n := range found {
			if n.Author.ID.String() == me && strings.Contains(n.Body, marker) {
				return n.ID.String(), nil
			}
		}
		if len(found) < commentPerPage {
			break
		}
	}
	return "", nil
}

func (g gitlabComments) create(ctx context.Context, request int64, body string) (string, error) {
	var made gitlabNote
	err := g.call(ctx, "POST", g.path("merge_requests", request, "notes"), nil, map[string]string{"body": body}, &made)
	return made.ID.String(), err
}

func (g gitlabComments) edit(ctx context.Context, request int64, id, body string) error {
	return g.call(ctx, "PUT", g.path("merge_requests", request, "notes", id), nil, map[string]string{"body": body}, nil)
}

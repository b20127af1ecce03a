package provider

import (
	"context"
	"encoding/json"
	"strings"
)

// newGiteaComments comments on pull requests at Gitea.
func newGiteaComments(s Settings) (Sender, Traits, error) {
	g, err := newGiteaForge(s)
	if err != nil {
		return nil, Traits{}, err
	}
	return newComments(s, g.forge, giteaComments{g}, pullMarker, githubComment)
}

type giteaComments struct{ gitea }

type giteaComment struct {
	ID   json.Number `json:"id"`
	Body string      `json:"body"`
	User *struct {
		ID json.Number `json:"id"`
	} `json:"user"`
}

// find reads all comments at once: Gitea has no pages of them.
func (g giteaComments) find(ctx context.Context, request int64, marker string) (string, error) {
	me, err := g.user(ctx)
	if err != nil {
		return "", err
	}
	var found []giteaComment
	if err := g.call(ctx, "GET", g.path("issues", request, "comments"), nil, nil, &found); err != nil {
		return "", err
	}
	for _, c := range found {
		if c.User != nil && c.User.ID.String() == me && strings.Contains(c.Body, marker) {
			return c.ID.String(), nil
		}
	}
	return "", nil
}

func (g giteaComments) create(ctx context.Context, request int64, body string) (string, error) {
	var made giteaComment
	err := g.call(ctx, "POST", g.path("issues", request, "comments"), nil, map[string]string{"body": body}, &made)
	return made.ID.String(), err
}

func (g giteaComments) edit(ctx context.Context, _ int64, id, body string) error {
	return g.call(ctx, "PATCH", g.path("issues", "comments", id), nil, map[string]string{"body": body}, nil)
}

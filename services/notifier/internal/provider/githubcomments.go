package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sluice-cd/sluice/libs/git/identity"
)

// githubComment is how many characters GitHub takes for a comment.
const githubComment = 65536

// newGitHubComments comments on pull requests at GitHub.
func newGitHubComments(s Settings) (Sender, Traits, error) {
	g, err := newGitHubForge(s)
	if err != nil {
		return nil, Traits{}, err
	}
	host := githubComments{github: g}
	if token, _ := s.forgeToken(); token == "" && identity.IsGitHubApp(s.Secret) {
		host.app = s.secret("githubAppID")
	}
	return newComments(s, g.forge, host, pullMarker, githubComment)
}

type githubComments struct {
	github
	app string // id of the App in whose name we write, or empty
}

type githubCommentOf struct {
	ID   json.Number `json:"id"`
	Body string      `json:"body"`
	User struct {
		ID json.Number `json:"id"`
	} `json:"user"`
	App *struct {
		ID json.Number `json:"id"`
	} `json:"performed_via_github_app"`
}

// find compares the author: anybody can write the marker, and with the rights of a maintainer we would edit what others wrote. An App has
// no user that it could ask for; its comments name it.
func (g githubComments) find(ctx context.Context, request int64, marker string) (string, error) {
	ours := func(c githubCommentOf) bool { return c.App != nil && c.App.ID.String() == g.app }
	if g.app == "" {
		me, err := g.user(ctx)
		if err != nil {
			return "", err
		}
		ours = func(c githubCommentOf) bool { return c.User.ID.String() == me }
	}
	for page := 1; page <= commentPages; page++ {
		var found []githubCommentOf
		err := g.call(ctx, "GET", g.path("issues", request, "comments"), params("per_page", fmt.Sprint(commentPerPage), "page", fmt.Sprint(page)), nil, &found)
		if err != nil {
			return "", err
		}
		for _, c := range found {
			if strings.Contains(c.Body, marker) && ours(c) {
				return c.ID.String(), nil
			}
		}
		if len(found) < commentPerPage {
			break
		}
	}
	return "", nil
}

// user is the id of who the credentials belong to, at GitHub, GitLab and Gitea.
func (f forge) user(ctx context.Context) (string, error) {
	var me struct {
		ID json.Number `json:"id"`
	}
	if err := f.call(ctx, "GET", "/user", nil, nil, &me); err != nil {
		return "", fmt.Errorf("ask who we are: %w", err)
	}
	return me.ID.String(), nil
}

func (g githubComments) create(ctx context.Context, request int64, body string) (string, error) {
	var made githubCommentOf
	err := g.call(ctx, "POST", g.path("issues", request, "comments"), nil, map[string]string{"body": body}, &made)
	return made.ID.String(), err
}

func (g githubComments) edit(ctx context.Context, _ int64, id, body string) error {
	return g.call(ctx, "PATCH", g.path("issues", "comments", id), nil, map[string]string{"body": body}, nil)
}

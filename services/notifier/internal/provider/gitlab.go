package provider

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/sluice-cd/sluice/libs/githost"
)

// gitlabText is how many characters GitLab takes for a status's name, description or address.
const gitlabText = 255

// gitlab is one project of GitLab.
type gitlab struct{ forge }

func newGitLabForge(s Settings) (gitlab, error) {
	token, err := s.forgeToken()
	if err != nil {
		return gitlab{}, err
	}
	f, err := newForge(s, githost.GitLab, withHeader("Private-Token", token))
	return gitlab{f}, err
}

// path names the project by its whole path, or its number, as one segment.
func (g gitlab) path(rest ...any) string {
	return githost.Path(append([]any{"projects", strings.Join(g.repository.Path, "/")}, rest...)...)
}

// newGitLab sets commit statuses at GitLab.
func newGitLab(s Settings) (Sender, Traits, error) {
	g, err := newGitLabForge(s)
	return &statuses{host: gitlabStatuses{g}, nameLimit: gitlabText, textLimit: gitlabText}, statusTraits, err
}

type gitlabStatuses struct{ gitlab }

func (gitlabStatuses) state(s State) string {
	switch s {
	case Progressing:
		return "pending"
	case Failed:
		return "failed"
	case Superseded:
		return "canceled"
	}
	return "success"
}

// last asks for the statuses of the name; without all=true GitLab gives the latest of each pipeline. The newest has the highest id.
func (g gitlabStatuses) last(ctx context.Context, commit, name string) (status, error) {
	var found []struct {
		ID          int64  `json:"id"`
		Status      string `json:"status"`
		Name        string `json:"name"`
		Description string `json:"description"`
	}
	err := g.call(ctx, "GET", g.path("repository", "commits", commit, "statuses"), params("name", name, "per_page", "100"), nil, &found)
	if err != nil {
		return status{}, err
	}
	var newest status
	var id int64
	for _, f := range found {
		if f.Name == name && f.ID >= id {
			newest, id = status{state: f.Status, description: f.Description}, f.ID
		}
	}
	return newest, nil
}

// set takes a refusal of a state that is there already for success: GitLab changes no status to the state that it has, not even for
// another description.
func (g gitlabStatuses) set(ctx context.Context, commit string, s status, _ Message) error {
	in := map[string]string{"state": s.state, "name": s.name, "description": s.description}
	if s.url != "" && len(s.url) <= gitlabText {
		in["target_url"] = s.url
	}
	err := g.call(ctx, "POST", g.path("statuses", commit), nil, in, nil)
	if !refusesTransition(err) {
		return err
	}
	known, lookup := g.last(ctx, commit, s.name)
	if lookup != nil {
		return lookup
	}
	if known.state == s.state {
		return nil
	}
	return err
}

func refusesTransition(err error) bool {
	refusal, ok := errors.AsType[*Refusal](err)
	return ok && refusal.Status == http.StatusBadRequest && strings.Contains(refusal.Reason, "Cannot transition status")
}

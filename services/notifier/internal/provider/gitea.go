package provider

import (
	"context"

	"github.com/sluice-cd/sluice/libs/githost"
)

// giteaText is how many characters Gitea's database keeps of a status's description, in its oldest form; a context has 255 at most.
const giteaText = 255

// gitea is one repository of Gitea or Forgejo.
type gitea struct{ forge }

func newGiteaForge(s Settings) (gitea, error) {
	token, err := s.forgeToken()
	if err != nil {
		return gitea{}, err
	}
	f, err := newForge(s, githost.Gitea, withHeader("Authorization", "token "+token))
	return gitea{f}, err
}

func (g gitea) path(rest ...any) string {
	return githost.Path(append([]any{"repos", g.repository.Owner(), g.repository.Name()}, rest...)...)
}

// newGitea sets commit statuses at Gitea.
func newGitea(s Settings) (Sender, Traits, error) {
	g, err := newGiteaForge(s)
	return &statuses{host: giteaStatuses{g}, nameLimit: giteaText, textLimit: giteaText}, statusTraits, err
}

type giteaStatuses struct{ gitea }

func (giteaStatuses) state(s State) string { return githubStatuses{}.state(s) }

// last takes the highest id of the newest fifty, which is as many as a server gives unless it is set up otherwise.
func (g giteaStatuses) last(ctx context.Context, commit, name string) (status, error) {
	var found []struct {
		ID          int64  `json:"id"`
		State       string `json:"status"`
		Context     string `json:"context"`
		Description string `json:"description"`
	}
	err := g.call(ctx, "GET", g.path("commits", commit, "statuses"), params("sort", "recentupdate", "page", "1", "limit", "50"), nil, &found)
	if err != nil {
		return status{}, err
	}
	var newest status
	var id int64
	for _, f := range found {
		if f.Context == name && f.ID >= id {
			newest, id = status{state: f.State, description: f.Description}, f.ID
		}
	}
	return newest, nil
}

func (g giteaStatuses) set(ctx context.Context, commit string, s status, _ Message) error {
	in := map[string]string{"state": s.state, "context": s.name, "description": s.description, "target_url": s.url}
	return g.call(ctx, "POST", g.path("statuses", commit), nil, in, nil)
}

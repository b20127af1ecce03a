package provider

import (
	"context"
	"fmt"
	"net/url"

	"github.com/sluice-cd/sluice/libs/githost"
	"github.com/sluice-cd/sluice/libs/plain"
)

// newBitbucketServer sets build statuses at Bitbucket Data Center.
func newBitbucketServer(s Settings) (Sender, Traits, error) {
	by, err := dataCenterAuthority(s)
	if err != nil {
		return nil, Traits{}, err
	}
	f, err := newForge(s, githost.BitbucketServer, by)
	if err != nil {
		return nil, Traits{}, err
	}
	d := dataCenterStatuses{forge: f, web: s.place()}
	if err := d.locate(); err != nil {
		return nil, Traits{}, fmt.Errorf("%w: %w", ErrSettings, err)
	}
	return &statuses{host: d, nameLimit: bitbucketText, textLimit: bitbucketText}, statusTraits, nil
}

// dataCenterAuthority takes an access token, or else username and password.
func dataCenterAuthority(s Settings) (authorize, error) {
	token, user, password := s.secret("token"), s.username(), s.secret("password")
	if err := sendable(token, user, password); err != nil {
		return nil, err
	}
	switch {
	case token != "":
		return withHeader("Authorization", "Bearer "+token), nil
	case user != "" && password != "":
		return withBasic(user, password), nil
	}
	return nil, fmt.Errorf("%w: Secret of spec.secretRef has neither 'token' nor 'username' and 'password'", ErrSettings)
}

type dataCenterStatuses struct {
	forge
	web    string // the address that the Provider has, as a status needs one
	prefix string // of all paths
	slugs  [2]string
}

// locate takes the path apart: [context/]scm/project/repository, as the server gives it for cloning by HTTP.
func (d *dataCenterStatuses) locate() error {
	u, err := url.Parse(d.web)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("address must be the one for cloning by HTTP, https://host/scm/project/repository.git")
	}
	parts := d.repository.Path
	n := len(parts)
	if n < 3 || parts[n-3] != "scm" {
		return fmt.Errorf("path of the address must end in scm/project/repository.git")
	}
	d.slugs = [2]string{parts[n-2], parts[n-1]}
	for _, part := range parts[:n-3] {
		d.prefix += githost.Path(part)
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	d.web = u.String()
	return nil
}

func (dataCenterStatuses) state(s State) string { return buildState(s) }

func (d dataCenterStatuses) path(commit string) string {
	return d.prefix + githost.Path("rest", "api", "latest", "projects", d.slugs[0], "repos", d.slugs[1], "commits", commit, "builds")
}

func (d dataCenterStatuses) last(ctx context.Context, commit, name string) (status, error) {
	var found struct {
		Key         string `json:"key"`
		State       string `json:"state"`
		Description string `json:"description"`
	}
	err := d.call(ctx, "GET", d.path(commit), params("key", buildKey(name)), nil, &found)
	if notThere(err) || err == nil && found.Key != buildKey(name) {
		return status{}, nil
	}
	return status{state: found.State, description: found.Description}, err
}

// set puts the description into the name too, as the server shows the name alone in most places.
func (d dataCenterStatuses) set(ctx context.Context, commit string, s status, m Message) error {
	name := plain.Line(fmt.Sprintf("%s [%s]", buildName(m), s.description), bitbucketText)
	in := map[string]string{"key": buildKey(s.name), "state": s.state, "name": name, "description": s.description, "url": s.url}
	if s.url == "" || len(s.url) > bitbucketURL {
		in["url"] = d.web
	}
	return d.call(ctx, "POST", d.path(commit), nil, in, nil)
}

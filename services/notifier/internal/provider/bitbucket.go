package provider

import (
	"context"
	"crypto/sha1" //nolint:gosec // names a status as Flux does; nothing is trusted for it
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/sluice-cd/sluice/libs/githost"
	"github.com/sluice-cd/sluice/libs/plain"
)

// How many characters both of Bitbucket's products take for a status's name or description, and for its address.
const (
	bitbucketText = 255
	bitbucketURL  = 450
)

// newBitbucket sets commit statuses at Bitbucket Cloud.
func newBitbucket(s Settings) (Sender, Traits, error) {
	by, err := bitbucketAuthority(s)
	if err != nil {
		return nil, Traits{}, err
	}
	f, err := newForge(s, githost.Bitbucket, by)
	return &statuses{host: bitbucketStatuses{f}, nameLimit: bitbucketText, textLimit: bitbucketText}, f.paced(statusTraits), err
}

// bitbucketAuthority takes user:password, as Flux wants the token, or an access token alone.
func bitbucketAuthority(s Settings) (authorize, error) {
	token, err := s.forgeToken()
	if err != nil {
		return nil, err
	}
	if user, password, ok := strings.Cut(token, ":"); ok {
		return withBasic(user, password), nil
	}
	return withHeader("Authorization", "Bearer "+token), nil
}

type bitbucketStatuses struct{ forge }

// buildState is the word that both of Bitbucket's products have.
func buildState(s State) string {
	switch s {
	case Progressing:
		return "INPROGRESS"
	case Failed, Superseded:
		return "FAILED"
	}
	return "SUCCESSFUL"
}

// buildKey names a status in the forty characters that Bitbucket takes.
func buildKey(name string) string {
	sum := sha1.Sum([]byte(name)) //nolint:gosec // see the import
	return hex.EncodeToString(sum[:])
}

// buildName is what Bitbucket shows of a status.
func buildName(m Message) string {
	about := m.Event.InvolvedObject
	if about.Name == "" {
		return plain.Line(m.Status.Context, bitbucketText)
	}
	return plain.Line(strings.ToLower(about.Kind+"/"+about.Name), bitbucketText)
}

func (bitbucketStatuses) state(s State) string { return buildState(s) }

func (b bitbucketStatuses) path(commit string, rest ...any) string {
	return githost.Path(append([]any{"repositories", b.repository.Owner(), b.repository.Name(), "commit", commit, "statuses", "build"}, rest...)...)
}

func (b bitbucketStatuses) last(ctx context.Context, commit, name string) (status, error) {
	var found struct {
		State       string `json:"state"`
		Description string `json:"description"`
	}
	err := b.call(ctx, "GET", b.path(commit, buildKey(name)), nil, nil, &found)
	if notThere(err) {
		return status{}, nil
	}
	return status{state: found.State, description: found.Description}, err
}

func (b bitbucketStatuses) set(ctx context.Context, commit string, s status, m Message) error {
	in := map[string]string{"key": buildKey(s.name), "state": s.state, "name": buildName(m), "description": s.description, "url": s.url}
	if s.url == "" || len(s.url) > bitbucketURL { // there must be one
		in["url"] = fmt.Sprintf("%s://%s%s", b.repository.Scheme, b.repository.Host, githost.Path(b.repository.Owner(), b.repository.Name(), "commits", commit))
	}
	return b.call(ctx, "POST", b.path(commit), nil, in, nil)
}

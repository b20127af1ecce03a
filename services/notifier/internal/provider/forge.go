package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/sluice-cd/sluice/libs/git/identity"
	"github.com/sluice-cd/sluice/libs/githost"
)

// forge speaks to the API of a git host about one repository. No client library does: each host is asked for two or three things, and
// the libraries try again by themselves, which is the outbox's affair, or know no context.
type forge struct {
	repository githost.Repository
	*api
}

// newForge reads the address, and prepares calls to where the host has its API.
func newForge(s Settings, kind githost.Kind, authorize func(context.Context, *http.Request) error) (forge, error) {
	r, err := githost.Parse(kind, address(s))
	if err != nil {
		return forge{}, fmt.Errorf("%w: %w", ErrSettings, err)
	}
	a, err := newAPI(s, r.API(kind).String(), authorize)
	return forge{r, a}, err
}

// forgeToken is the key token of the Secret, or else password.
func forgeToken(s Settings) (string, error) {
	token := secret(s, "token")
	if token == "" {
		token = secret(s, "password")
	}
	if token == "" {
		return "", fmt.Errorf("%w: Secret of spec.secretRef has no 'token'", ErrSettings)
	}
	return token, clean(token)
}

// clean says why a value cannot be sent in a header; it does not repeat it.
func clean(values ...string) error {
	for _, v := range values {
		if strings.ContainsAny(v, "\r\n\x00") || !utf8.ValidString(v) {
			return fmt.Errorf("%w: the Secret of spec.secretRef has credentials with line ends or other characters that no header takes", ErrSettings)
		}
	}
	return nil
}

// withHeader authorizes by a header that stays the same.
func withHeader(name, value string) func(context.Context, *http.Request) error {
	return func(_ context.Context, r *http.Request) error {
		r.Header.Set(name, value)
		return nil
	}
}

// withBasic authorizes by username and password.
func withBasic(username, password string) func(context.Context, *http.Request) error {
	return func(_ context.Context, r *http.Request) error {
		r.SetBasicAuth(username, password)
		return nil
	}
}

// githubAuthority authorizes at GitHub: by the token of the Secret, or else by the App that the Secret describes.
func githubAuthority(s Settings) (func(context.Context, *http.Request) error, error) {
	token, err := forgeToken(s)
	if err == nil {
		return withHeader("Authorization", "Bearer "+token), nil
	}
	if !identity.IsGitHubApp(s.Secret) {
		return nil, fmt.Errorf("%w: Secret of spec.secretRef has neither 'token' nor the keys of a GitHub App", ErrSettings)
	}
	app, err := identity.NewGitHubApp(s.Secret)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSettings, err)
	}
	apps := s.Apps
	if apps == nil {
		if apps, err = identity.NewIssuer(nil, false); err != nil {
			return nil, err
		}
	}
	client, err := httpClient(s)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, r *http.Request) error {
		token, err := apps.GitHub(ctx, app, client)
		if err != nil {
			return fmt.Errorf("authorize as GitHub App: %w", err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		return nil
	}, nil
}

// notThere reports whether the host said that what was asked for is not there.
func notThere(err error) bool {
	var refusal *Refusal
	return errors.As(err, &refusal) && (refusal.Status == http.StatusNotFound || refusal.Status == http.StatusGone)
}

// query makes a query of pairs.
func query(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return q
}

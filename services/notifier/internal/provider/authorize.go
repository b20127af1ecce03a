package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/sluice-cd/sluice/libs/git/identity"
	"github.com/sluice-cd/sluice/libs/guard"
)

// forgeToken is the Secret's token, or else its password.
func (s Settings) forgeToken() (string, error) {
	token := s.secret("token")
	if token == "" {
		token = s.secret("password")
	}
	if token == "" {
		return "", fmt.Errorf("%w: a Secret with key token is needed", ErrSettings)
	}
	return token, sendable(token)
}

// refusedAddress is the refusal to connect where nobody may, if that is why something failed.
func refusedAddress(err error) error {
	if refused, ok := errors.AsType[*guard.Error](err); ok {
		return &Refusal{Reason: refused.Error()}
	}
	return nil
}

// sendable says why values cannot stand in a header; it does not repeat them.
func sendable(values ...string) error {
	for _, v := range values {
		if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return fmt.Errorf("%w: the Secret has credentials of several lines or with control characters", ErrSettings)
		}
	}
	return nil
}

// withHeader authorizes by a header that stays the same.
func withHeader(name, value string) authorize {
	header := http.Header{name: {value}}
	return func(context.Context) (http.Header, error) { return header, nil }
}

// withBasic authorizes by username and password.
func withBasic(username, password string) authorize {
	return withHeader("Authorization", basic(username, password))
}

// withCloud authorizes by a token of a cloud's identity.
func withCloud(s Settings, provider, scope string) (authorize, error) {
	if s.Cloud == nil {
		return nil, fmt.Errorf("%w: there is neither a token in the Secret nor an identity of a cloud", ErrSettings)
	}
	return func(ctx context.Context) (http.Header, error) {
		token, _, err := s.Cloud.Token(ctx, provider, scope)
		if err != nil {
			return nil, fmt.Errorf("get a token of the cloud's identity: %w", err)
		}
		return bearer(token), nil
	}, nil
}

// atGitHub authorizes by the Secret's token, or else by the App that the Secret describes.
func atGitHub(s Settings) (authorize, error) {
	if token, err := s.forgeToken(); token != "" {
		return withHeader("Authorization", "Bearer "+token), err
	}
	if !identity.IsGitHubApp(s.Secret) {
		return nil, fmt.Errorf("%w: a Secret with key token, or the keys of a GitHub App, is needed", ErrSettings)
	}
	app, err := identity.NewGitHubApp(s.Secret)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSettings, err)
	}
	if s, err = withSecretTLS(s); err != nil {
		return nil, err
	}
	apps := s.Apps
	if apps == nil {
		if apps, err = identity.NewIssuer(nil, false); err != nil {
			return nil, err
		}
	}
	c := newClient(s)
	return func(ctx context.Context) (http.Header, error) {
		token, err := apps.GitHub(ctx, app, c.lend())
		if err != nil {
			if refused := refusedAddress(err); refused != nil {
				return nil, refused
			}
			return nil, errors.New(c.hidden.clean(err.Error()))
		}
		return bearer(token), nil
	}, nil
}

// lend is a client for libraries that ask by themselves; it goes only where ask goes.
func (c *client) lend() *http.Client {
	return &http.Client{Transport: &lent{client: c}, Timeout: c.timeout, CheckRedirect: checkRedirect}
}

type lent struct {
	*client
	refused error // the last refusal to connect, which libraries do not hand on
}

func (l *lent) RoundTrip(r *http.Request) (*http.Response, error) {
	if l.trusts(r) {
		r = r.WithContext(context.WithValue(r.Context(), trusted{}, true))
	}
	err := l.guard.CheckURL(r.URL)
	var response *http.Response
	if err == nil {
		response, err = l.http.Transport.RoundTrip(r)
	}
	l.refused = refusedAddress(err)
	return response, err
}

package git

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
)

// Source is a repository, what to follow in it, and how to get in.
type Source struct {
	// URL is an http, https or ssh address.
	URL string
	Ref Ref
	// Auth comes from AuthFromSecret.
	Auth Auth
	// CredentialID names the credential, as "<namespace>/<secret>" does, so that
	// its mirror stays when the token in it changes. The default is a hash of
	// Auth. Sources with the same URL and CredentialID share a mirror, but each
	// still has to pass the server's own check on every Resolve.
	CredentialID string

	// confined refuses redirects to other hosts, also without credentials.
	confined bool
}

// parseURL accepts the addresses that Flux accepts. Errors do not repeat the
// address: there may be a password in it.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || strings.HasPrefix(text, "-") {
		return nil, fmt.Errorf("%w: malformed", ErrURLInvalid)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "ssh":
		return nil, fmt.Errorf("%w: the scheme must be http, https or ssh (an address like user@host:path is written ssh://user@host/path)", ErrURLInvalid)
	case u.Hostname() == "" || strings.HasPrefix(u.Hostname(), "-"):
		return nil, fmt.Errorf("%w: no host", ErrURLInvalid)
	case strings.Trim(u.Path, "/") == "" || strings.HasPrefix(strings.TrimLeft(u.Path, "/"), "-"):
		return nil, fmt.Errorf("%w: no repository", ErrURLInvalid)
	case strings.ContainsFunc(u.Path, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return nil, fmt.Errorf("%w: control characters in the path", ErrURLInvalid)
	}
	return u, checkUser(u)
}

func checkUser(u *url.URL) error {
	if u.User == nil {
		return nil
	}
	if _, password := u.User.Password(); password || u.Scheme != "ssh" {
		return fmt.Errorf("%w: credentials belong into the Secret, not into the URL", ErrURLInvalid)
	}
	if strings.HasPrefix(u.User.Username(), "-") {
		return fmt.Errorf("%w: malformed user", ErrURLInvalid)
	}
	return nil
}

// matches reports whether one of the patterns is the name of the host.
func matches(patterns []string, host string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(host))
		return err == nil && ok
	})
}

// display is an address fit for messages.
func display(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

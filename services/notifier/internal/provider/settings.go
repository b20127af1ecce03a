package provider

import (
	"fmt"
	"net/url"
	"strings"
)

// secret is a value of the Secret; files that editors and shells write end with a line end that nobody means.
func (s Settings) secret(key string) string { return strings.TrimSpace(string(s.Secret[key])) }

// place is where the Provider points to, however it is written.
func (s Settings) place() string {
	if found := s.secret("address"); found != "" {
		return found
	}
	return strings.TrimSpace(s.Spec.Address)
}

// address is place for the types where it is a URL.
func (s Settings) address() (*url.URL, error) {
	if s.place() == "" {
		return nil, fmt.Errorf("%w: an address is needed, in spec.address or in key address of the Secret", ErrSettings)
	}
	u, err := url.Parse(s.place())
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("%w: the address is no URL with https or http", ErrSettings) // it may be a secret: it is not shown
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// username comes from the Secret before the Provider.
func (s Settings) username() string {
	if found := s.secret("username"); found != "" {
		return found
	}
	return s.Spec.Username
}

// needToken is the Secret's token where nothing can be sent without one.
func (s Settings) needToken() (string, error) {
	token := s.secret("token")
	if token == "" {
		return "", fmt.Errorf("%w: a Secret with key token is needed", ErrSettings)
	}
	return token, nil
}

// needChannel is spec.channel where nothing can be sent without one.
func (s Settings) needChannel(what string) (string, error) {
	if s.Spec.Channel == "" {
		return "", fmt.Errorf("%w: spec.channel is needed: %s", ErrSettings, what)
	}
	return s.Spec.Channel, nil
}

// Package address brings the addresses of git repositories into one form, so that those that mean the same repository compare equal, however
// they are written: with or without user, port and ".git", over HTTP or SSH. The form is for comparing alone, never for fetching.
package address

import (
	"fmt"
	"net/url"
	"strings"
)

// maxLength bounds what is read of an address from outside.
const maxLength = 2048

// Normal returns the form of an address: host, a slash, and the path without ".git", all in lower case, as most hosts take paths in any case.
// Where one tells them apart, two repositories have one form. It takes URLs and the short form of SSH, git@host:path.
func Normal(address string) (string, error) {
	if len(address) > maxLength {
		return "", fmt.Errorf("address of a repository: longer than %d bytes", maxLength)
	}
	if strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return "", fmt.Errorf("address of a repository: it has spaces or control characters")
	}
	host, path, err := split(address)
	if err != nil {
		return "", err
	}
	host, path = strings.ToLower(strings.TrimSuffix(host, ".")), strings.ToLower(strings.Trim(path, "/"))
	path = strings.TrimRight(strings.TrimSuffix(path, ".git"), "/")
	if host == "" || path == "" {
		return "", fmt.Errorf("address of a repository: no host or no path")
	}
	return host + "/" + path, nil
}

// split returns host and path of an address.
func split(address string) (host, path string, err error) {
	if !strings.Contains(address, "://") {
		return splitShort(address)
	}
	u, err := url.Parse(address)
	if err != nil {
		// Not the error itself: it holds the address, and with it perhaps a password.
		return "", "", fmt.Errorf("address of a repository: it is no URL")
	}
	switch strings.ToLower(u.Scheme) {
	case "http", "https", "ssh", "git":
		return u.Hostname(), u.Path, nil
	}
	return "", "", fmt.Errorf("address of a repository: unknown scheme")
}

// splitShort reads user@host:path.
func splitShort(address string) (host, path string, err error) {
	front, path, found := strings.Cut(address, ":")
	if !found || strings.Contains(front, "/") {
		return "", "", fmt.Errorf("address of a repository: neither a URL nor host:path")
	}
	_, host, found = strings.Cut(front, "@")
	if !found {
		host = front
	}
	return host, path, nil
}

package githost

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/sluice-cd/sluice/libs/plain"
)

// Repository is where a repository is on its host.
type Repository struct {
	Scheme, Host string   // of its web address; an address of SSH is taken for https without a port
	Path         []string // owner (or groups) and name; of a Data Center and of Azure as in the address
}

// Name is the last part of the path.
func (r Repository) Name() string { return r.Path[len(r.Path)-1] }

// Owner is the path without the name.
func (r Repository) Owner() string { return strings.Join(r.Path[:len(r.Path)-1], "/") }

var (
	scpForm     = regexp.MustCompile(`\A[A-Za-z0-9._-]+@([A-Za-z0-9.-]+):([^:].*)\z`)
	pathSegment = regexp.MustCompile(`\A[A-Za-z0-9_~.][A-Za-z0-9_~. -]*\z`)
	projectID   = regexp.MustCompile(`\A[0-9]+\z`)
)

// Parse understands https://host/owner/name as it is cloned, and the two forms of SSH (ssh://git@host/owner/name,
// git@host:owner/name). Errors hold no part of the address that may be a secret.
func Parse(kind Kind, address string) (Repository, error) {
	if m := scpForm.FindStringSubmatch(address); m != nil {
		address = "ssh://" + m[1] + "/" + m[2]
	}
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return Repository{}, errors.New("address of the repository cannot be understood")
	}
	r := Repository{Scheme: u.Scheme, Host: u.Host}
	switch u.Scheme {
	case "https", "http":
	case "ssh":
		r.Scheme, r.Host = "https", u.Hostname() // the port is that of SSH
	default:
		return Repository{}, fmt.Errorf("repository is reached by %q; it must be https or ssh", plain.Line(u.Scheme, 20))
	}
	r.Path = strings.Split(strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git"), "/")
	for _, part := range r.Path {
		if !pathSegment.MatchString(part) || part == "." || part == ".." {
			return Repository{}, fmt.Errorf("path of the repository has the part %q", plain.Line(part, 50))
		}
	}
	return r, checkShape(kind, r)
}

func checkShape(kind Kind, r Repository) error {
	switch n := len(r.Path); kind {
	case GitHub, Gitea, Bitbucket:
		if n == 2 {
			return nil
		}
	case GitLab:
		if n >= 2 || projectID.MatchString(r.Path[0]) {
			return nil
		}
	case BitbucketServer, Azure:
		if n >= 2 {
			return nil
		}
	default:
		return fmt.Errorf("no kind of git host is called %q", plain.Line(string(kind), 50))
	}
	return errors.New("address of the repository must end in owner/name")
}

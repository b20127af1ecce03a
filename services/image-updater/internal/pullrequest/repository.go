package pullrequest

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/sluice-cd/sluice/libs/plain"
)

// repository is where a repository is on its host.
type repository struct {
	scheme, host string
	path         []string // owner (or groups), name
}

func (r repository) name() string  { return r.path[len(r.path)-1] }
func (r repository) owner() string { return strings.Join(r.path[:len(r.path)-1], "/") }

var (
	scpForm     = regexp.MustCompile(`\A[A-Za-z0-9._-]+@([A-Za-z0-9.-]+):([^:].*)\z`)
	pathSegment = regexp.MustCompile(`\A[A-Za-z0-9_~.][A-Za-z0-9_~. -]*\z`)
)

func parseRepository(c Config) (repository, error) {
	address := c.Repository
	if m := scpForm.FindStringSubmatch(address); m != nil {
		address = "ssh://" + m[1] + "/" + m[2]
	}
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return repository{}, fmt.Errorf("%w: address of the repository cannot be understood", ErrInvalid)
	}
	r := repository{scheme: u.Scheme, host: u.Host}
	switch u.Scheme {
	case "https", "http":
	case "ssh":
		r.scheme, r.host = "https", u.Hostname() // the port is that of SSH
	default:
		return repository{}, fmt.Errorf("%w: repository is reached by %q; it must be https or ssh", ErrInvalid, plain.Line(u.Scheme, 20))
	}
	r.path = strings.Split(strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git"), "/")
	for _, part := range r.path {
		if !pathSegment.MatchString(part) || part == "." || part == ".." {
			return repository{}, fmt.Errorf("%w: path of the repository has the part %q", ErrInvalid, plain.Line(part, 50))
		}
	}
	return r, checkShape(c.Kind, r)
}

func checkShape(kind Kind, r repository) error {
	switch n := len(r.path); kind {
	case GitHub, Gitea, Bitbucket:
		if n == 2 {
			return nil
		}
	case GitLab, BitbucketServer, Azure:
		if n >= 2 {
			return nil
		}
	default:
		return fmt.Errorf("%w: no kind of git host is called %q", ErrInvalid, plain.Line(string(kind), 50))
	}
	return fmt.Errorf("%w: address of the repository must end in owner/name", ErrInvalid)
}

package git

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
)

const (
	modulesFile     = ".gitmodules"
	maxModulesBytes = 1 << 20
	// maxSubmodules and maxSubmoduleDepth bound what one commit may cause to be
	// fetched; also submodules that contain themselves end here.
	maxSubmodules     = 100
	maxSubmoduleDepth = 8
)

// ErrSubmodule says that a submodule lies where this installation does not fetch from.
var ErrSubmodule = errors.New("submodule refused")

// follow adds the files of submodules. Links that .gitmodules does not name stay
// empty, as git leaves them.
func (c *collector) follow(ctx context.Context, s *Snapshot, o *objects, links []entry, dir string, depth int) error {
	if depth >= maxSubmoduleDepth {
		return fmt.Errorf("%w: %q is nested more than %d deep", ErrSubmodule, dir, maxSubmoduleDepth)
	}
	addresses, err := s.modules(ctx, o)
	if err != nil {
		return err
	}
	for _, link := range links {
		address, ok := addresses[link.name]
		if !ok {
			continue
		}
		if c.modules++; c.modules > maxSubmodules {
			return fmt.Errorf("%w: there are more than %d", ErrSubmodule, maxSubmodules)
		}
		if err := c.submodule(ctx, s, address, link, join(dir, link.name), depth+1); err != nil {
			return fmt.Errorf("submodule %q: %w", join(dir, link.name), ownFault(err))
		}
	}
	return nil
}

func (c *collector) submodule(ctx context.Context, s *Snapshot, address string, link entry, dir string, depth int) error {
	source, err := s.resolved.submodule(address, link.hash)
	if err != nil {
		return err
	}
	resolved, err := s.resolved.mirrors.Resolve(ctx, source)
	if err != nil {
		return err
	}
	c.owner.inner = append(c.owner.inner, resolved)
	inner, err := resolved.Fetch(ctx)
	if err != nil {
		return err
	}
	before, left, modules := len(c.found), c.left, c.modules
	return inner.read(ctx, "read the files", func(o *objects) error {
		c.found, c.left, c.modules = c.found[:before], left, modules
		return c.commit(ctx, inner, o, dir, depth)
	})
}

// ownFault keeps what is wrong with a submodule from being taken for a fault of
// the repository around it: its mirror is another, which was replaced already,
// and its address is no part of the spec.
func ownFault(err error) error {
	if errors.Is(err, errDamaged) || Stalled(err) {
		return fmt.Errorf("%w: %v", ErrSubmodule, err)
	}
	return err
}

// modules reads where the submodules of the commit are, by their paths.
func (s *Snapshot) modules(ctx context.Context, o *objects) (map[string]string, error) {
	root, err := readTree(ctx, o, s.Commit.tree)
	if err != nil {
		return nil, err
	}
	addresses := map[string]string{}
	for _, e := range root {
		if e.name != modulesFile || e.kind > executableFile {
			continue
		}
		data, err := o.read(ctx, plumbing.BlobObject, e.hash, maxModulesBytes)
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", modulesFile, err)
		}
		modules := config.NewModules()
		if err := modules.Unmarshal(data); err != nil {
			return nil, fmt.Errorf("read %q: malformed", modulesFile)
		}
		for _, m := range modules.Submodules {
			addresses[m.Path] = m.URL
		}
	}
	return addresses, nil
}

// submodule says how to fetch a submodule of the repository: with the same
// credentials from the same host, without any from hosts that were allowed, and
// from no other place.
func (r *Resolved) submodule(address, hash string) (Source, error) {
	u, err := submoduleURL(r.url, address)
	if err != nil {
		return Source{}, fmt.Errorf("%w: %w", ErrSubmodule, err)
	}
	source := Source{URL: u.String(), Ref: Ref{Commit: hash}, confined: true}
	switch {
	case sameOrigin(r.url, u):
		source.Auth, source.CredentialID = r.source.Auth, r.source.CredentialID
	case matches(r.mirrors.foreign, u.Hostname()):
		source.Auth.Proxy = r.source.Auth.Proxy
	default:
		return Source{}, fmt.Errorf("%w: it is at %s://%s, which is not where the repository is and not allowed in this installation", ErrSubmodule, u.Scheme, u.Host)
	}
	return source, nil
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Host, b.Host) && a.User.String() == b.User.String()
}

// submoduleURL is an address of .gitmodules in full. It may be relative to the
// address of the repository, or in the short form user@host:path of SSH.
func submoduleURL(of *url.URL, address string) (*url.URL, error) {
	if strings.HasPrefix(address, "./") || strings.HasPrefix(address, "../") {
		return relativeURL(of, address)
	}
	host, rest, found := strings.Cut(address, ":")
	if found && !strings.HasPrefix(rest, "//") && !strings.Contains(host, "/") {
		address = "ssh://" + host + "/" + strings.TrimPrefix(rest, "/")
	}
	return parseURL(address)
}

func relativeURL(of *url.URL, address string) (*url.URL, error) {
	base, rest := strings.TrimRight(of.Path, "/"), address
	for {
		if tail, ok := strings.CutPrefix(rest, "./"); ok {
			rest = tail
			continue
		}
		tail, ok := strings.CutPrefix(rest, "../")
		if !ok {
			break
		}
		if rest = tail; base == "" {
			return nil, fmt.Errorf("%w: the relative address leads out of the host", ErrSubmodule)
		}
		base = base[:strings.LastIndexByte(base, '/')]
	}
	resolved := url.URL{Scheme: of.Scheme, Host: of.Host, User: of.User, Path: base + "/" + rest}
	return parseURL(resolved.String())
}

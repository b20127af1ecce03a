package registry

import (
	"fmt"
	"net"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// Image is a repository in a registry.
type Image struct{ repository name.Repository }

// ParseImage reads an address such as ghcr.io/org/app or org/app, without scheme, tag or digest.
func ParseImage(address string) (Image, error) {
	if scheme, _, found := strings.Cut(address, "://"); found {
		return Image{}, fmt.Errorf("image %q must not begin with a URL scheme; remove '%s://'", address, scheme)
	}
	repository, err := name.NewRepository(address)
	if err != nil {
		if _, tag, found := strings.Cut(address[strings.LastIndex(address, "/")+1:], ":"); found {
			return Image{}, fmt.Errorf("image %q must not have a tag; remove ':%s'", address, tag)
		}
		return Image{}, fmt.Errorf("image %q: %w", address, err)
	}
	for part := range strings.SplitSeq(repository.Name(), "/") {
		if strings.Trim(part, ".") == "" { // would lead elsewhere in a URL
			return Image{}, fmt.Errorf("image %q: %q is no name", address, part)
		}
	}
	return Image{repository}, nil
}

// String is the canonical name, with all implied parts: index.docker.io/library/alpine for alpine.
func (i Image) String() string { return i.repository.Name() }

// Host is the registry, with its port where it has one.
func (i Image) Host() string { return i.repository.RegistryStr() }

// Path is the repository within the registry.
func (i Image) Path() string { return i.repository.RepositoryStr() }

// countsPulls says whether the registry lets few manifests be read and any number of digests.
func (i Image) countsPulls() bool {
	return i.Host() == name.DefaultRegistry || i.Host() == "registry-1.docker.io"
}

// tagPattern is what the distribution specification allows; other names in a listing are dropped.
var tagPattern = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

// ValidTag says whether a name may be a tag.
func ValidTag(tag string) bool { return tagPattern.MatchString(tag) }

// isLoopback says whether a host, with or without port, is this machine by its name.
func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// isAddress says whether a host's name is an IP address.
func isAddress(hostname string) bool { return net.ParseIP(hostname) != nil }

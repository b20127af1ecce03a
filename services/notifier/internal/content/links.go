package content

import (
	"net/url"
	"strings"

	"github.com/sluice-cd/sluice/services/notifier/internal/news"
	"github.com/sluice-cd/sluice/services/notifier/internal/provider"
)

// pages are where the large hosts show a commit and the difference of two, below the page of a repository.
type pages struct{ commit, compare string }

var hosts = []struct {
	name  string // of the host, or its first label
	pages pages
}{
	{"github.com", pages{"/commit/{new}", "/compare/{old}...{new}"}},
	{"gitlab.com", pages{"/-/commit/{new}", "/-/compare/{old}...{new}"}},
	{"bitbucket.org", pages{"/commits/{new}", "/branches/compare/{new}%0D{old}"}},
	{"codeberg.org", pages{"/commit/{new}", "/compare/{old}...{new}"}},
	{"gitea.com", pages{"/commit/{new}", "/compare/{old}...{new}"}},
	{"dev.azure.com", pages{commit: "/commit/{new}"}},
	{"github.", pages{"/commit/{new}", "/compare/{old}...{new}"}},
	{"gitlab.", pages{"/-/commit/{new}", "/-/compare/{old}...{new}"}},
	{"gitea.", pages{"/commit/{new}", "/compare/{old}...{new}"}},
	{"forgejo.", pages{"/commit/{new}", "/compare/{old}...{new}"}},
}

// Links are the pages of a commit, and of what it changed since the one before, where the host is known.
func Links(repository, before, revision string) []provider.Link {
	hash := news.Hash(revision)
	page, at := pageOf(repository)
	if page == nil || hash == "" {
		return nil
	}
	fill := func(path, old string) string {
		return page.String() + strings.NewReplacer("{new}", hash, "{old}", old).Replace(path)
	}
	links := []provider.Link{{Text: "Commit " + hash[:7], URL: fill(at.commit, "")}}
	if old := news.Hash(before); old != "" && old != hash && at.compare != "" {
		links = append(links, provider.Link{Text: "Changes since " + old[:7], URL: fill(at.compare, old)})
	}
	return links
}

// pageOf is the page of a repository, without anything that only its clone needs.
func pageOf(repository string) (*url.URL, pages) {
	u, err := url.Parse(repository)
	if err != nil || strings.Contains(u.Path, "..") {
		return nil, pages{}
	}
	switch u.Scheme {
	case "http", "https":
	case "ssh", "git":
		u.Scheme, u.Host = "https", u.Hostname()
		if u.Host == "ssh.dev.azure.com" {
			return azurePage(u)
		}
		u.Host = strings.TrimPrefix(u.Host, "ssh.")
	default:
		return nil, pages{}
	}
	page := &url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimSuffix(strings.TrimRight(u.Path, "/"), ".git")}
	for _, h := range hosts {
		if strings.EqualFold(u.Hostname(), h.name) || strings.HasSuffix(h.name, ".") && strings.HasPrefix(strings.ToLower(u.Hostname()), h.name) {
			return page, h.pages
		}
	}
	return nil, pages{}
}

// azurePage is the page of a repository that is cloned from ssh.dev.azure.com/v3/<organization>/<project>/<repository>.
func azurePage(u *url.URL) (*url.URL, pages) {
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	if len(parts) != 4 || parts[0] != "v3" {
		return nil, pages{}
	}
	return &url.URL{Scheme: "https", Host: "dev.azure.com", Path: "/" + parts[1] + "/" + parts[2] + "/_git/" + parts[3]}, pages{commit: "/commit/{new}"}
}

package githost

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// API is where the repository's host usually has its API.
func (r Repository) API(kind Kind) *url.URL {
	api := &url.URL{Scheme: r.Scheme, Host: r.Host}
	switch kind {
	case GitHub:
		setGitHub(api)
	case GitLab:
		if r.Host == "altssh.gitlab.com" {
			api.Host = "gitlab.com"
		}
		api.Path = "/api/v4"
	case Gitea:
		api.Path = "/api/v1"
	case Bitbucket:
		api.Path = "/2.0"
		if r.Host == "bitbucket.org" || r.Host == "altssh.bitbucket.org" {
			api.Host = "api.bitbucket.org"
		}
	case Azure:
		if r.Host == "ssh.dev.azure.com" {
			api.Host = "dev.azure.com"
		}
	}
	return api
}

func setGitHub(api *url.URL) {
	switch {
	case api.Host == "github.com", api.Host == "ssh.github.com":
		api.Host = "api.github.com"
	case strings.HasSuffix(api.Host, ".ghe.com") && !strings.HasPrefix(api.Host, "api."): // Enterprise Cloud with data residency
		api.Host = "api." + api.Host
	default:
		api.Path = "/api/v3"
	}
}

// Azure is the organization or collection with the project, and the name: org/project/_git/name, org/_git/name (whose project has the
// same name), and v3/org/project/name as SSH has it.
func (r Repository) Azure() (project []string, name string, err error) {
	parts := slices.DeleteFunc(slices.Clone(r.Path), func(s string) bool { return s == "_git" })
	if len(parts) == 4 && parts[0] == "v3" {
		parts = parts[1:]
	}
	if slices.Contains(r.Path, "_git") && len(parts) == 2 && !strings.HasSuffix(r.Host, ".visualstudio.com") {
		parts = append(parts, parts[1])
	}
	if len(parts) < 2 {
		return nil, "", fmt.Errorf("address of the repository must be like org/project/_git/name")
	}
	return parts[:len(parts)-1], parts[len(parts)-1], nil
}

// Path joins segments, each escaped, so that none can leave its place.
func Path(segments ...any) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(fmt.Sprint(s)))
	}
	return b.String()
}

package payload

import (
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// readGitHub reads a call of GitHub, and of Gitea, Forgejo and Gogs, which send the same.
func readGitHub(h http.Header, body []byte) (*Event, error) {
	body, err := formBody(h, body)
	if err != nil {
		return nil, err
	}
	var p struct {
		Repository struct {
			CloneURL text    `json:"clone_url"`
			SSHURL   text    `json:"ssh_url"`
			HTMLURL  text    `json:"html_url"`
			PushedAt present `json:"pushed_at"`
		} `json:"repository"`
		Package         githubPackage `json:"package"`
		RegistryPackage githubPackage `json:"registry_package"`
	}
	if err := decode(body, &p); err != nil {
		return nil, err
	}
	e := &Event{
		Name: first(h, "X-GitHub-Event", "X-Gitea-Event", "X-Forgejo-Event", "X-Gogs-Event"), Body: body, Timed: bool(p.Repository.PushedAt),
		Delivery: first(h, "X-GitHub-Delivery", "X-Gitea-Delivery", "X-Forgejo-Delivery", "X-Gogs-Delivery"),
	}
	switch e.Name {
	case "push", "create", "delete", "pull_request", "package", "registry_package":
		e.Moves = true
	}
	e.addRepositories(string(p.Repository.CloneURL), string(p.Repository.SSHURL), string(p.Repository.HTMLURL))
	p.Package.addTo(e)
	p.RegistryPackage.addTo(e)
	return e, nil
}

// githubPackage is an image in the registry of GitHub, or of Gitea.
type githubPackage struct {
	Version struct {
		URL text `json:"package_url"`
	} `json:"package_version"`

	GiteaType text `json:"type"`
	Name      text `json:"name"`
	HTMLURL   text `json:"html_url"`
	Owner     struct {
		Login text `json:"login"`
	} `json:"owner"`
}

func (p *githubPackage) addTo(e *Event) {
	e.addImages(strings.ToLower(string(p.Version.URL))) // packages that are no images have URLs of another form
	if strings.EqualFold(string(p.GiteaType), "container") && p.Owner.Login != "" && p.Name != "" {
		if u, err := url.Parse(string(p.HTMLURL)); err == nil && u.Host != "" {
			e.addImages(u.Host + "/" + strings.ToLower(string(p.Owner.Login)) + "/" + string(p.Name))
		}
	}
}

// formBody returns the JSON of a call, also where it is the field of a form.
func formBody(h http.Header, body []byte) ([]byte, error) {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return body, nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || !form.Has("payload") {
		return nil, fmt.Errorf("%w: no form with a payload", ErrMalformed)
	}
	return []byte(form.Get("payload")), nil
}

// first is the first of some headers that is set.
func first(h http.Header, names ...string) string {
	for _, name := range names {
		if v := h.Get(name); v != "" {
			return v
		}
	}
	return ""
}

// readGitLab reads a call of GitLab. Its event id is the same for all events of a chain, so that it tells them apart only together with the body.
func readGitLab(h http.Header, body []byte) (*Event, error) {
	var p struct {
		Kind    text          `json:"object_kind"`
		Event   text          `json:"event_name"`
		Project gitlabProject `json:"project"`
		// Repository is what older versions send in place of Project.
		Repository gitlabProject `json:"repository"`
	}
	if err := decode(body, &p); err != nil {
		return nil, err
	}
	e := &Event{Name: h.Get("X-Gitlab-Event"), Body: body, Delivery: h.Get("Idempotency-Key")}
	if e.Delivery == "" && h.Get("X-Gitlab-Event-UUID") != "" {
		e.Delivery = h.Get("X-Gitlab-Event-UUID") + " " + digest(body)
	}
	kind := p.Kind
	if kind == "" {
		kind = p.Event
	}
	switch kind {
	case "push", "tag_push", "merge_request", "repository_update":
		e.Moves = true
	}
	p.Project.addTo(e)
	p.Repository.addTo(e)
	return e, nil
}

type gitlabProject struct {
	HTTPURL text `json:"git_http_url"`
	SSHURL  text `json:"git_ssh_url"`
	WebURL  text `json:"web_url"`
}

func (p *gitlabProject) addTo(e *Event) {
	e.addRepositories(string(p.HTTPURL), string(p.SSHURL), string(p.WebURL))
}

// readBitbucket reads a call of Bitbucket Data Center or Bitbucket Cloud.
func readBitbucket(h http.Header, body []byte) (*Event, error) {
	var p struct {
		Date       text                `json:"date"`
		Repository bitbucketRepository `json:"repository"`
	}
	if err := decode(body, &p); err != nil {
		return nil, err
	}
	e := &Event{
		Name: h.Get("X-Event-Key"), Body: body, Delivery: first(h, "X-Request-UUID", "X-Request-Id"), Timed: p.Date != "",
	}
	switch name := e.Name; {
	case name == "repo:push", name == "repo:refs_changed", name == "mirror:repo_synchronized", strings.HasPrefix(name, "pr:"), strings.HasPrefix(name, "pullrequest:"):
		e.Moves = true
	}
	p.Repository.addTo(e)
	return e, nil
}

type bitbucketRepository struct {
	FullName text `json:"full_name"` // of Cloud alone
	Slug     text `json:"slug"`
	Project  struct {
		Key text `json:"key"`
	} `json:"project"`
	Links struct {
		Clone []struct {
			Href text `json:"href"`
		} `json:"clone"`
		Self links `json:"self"`
	} `json:"links"`
}

// addTo notes what a repository is cloned by. Data Center has addresses of two forms, below /scm and without, which it tells only in newer versions;
// older ones tell the page of the repository.
func (r *bitbucketRepository) addTo(e *Event) {
	for _, link := range r.Links.Clone {
		e.addRepositories(string(link.Href))
	}
	if r.FullName != "" {
		e.addRepositories("https://bitbucket.org/" + string(r.FullName))
	}
	for _, page := range r.Links.Self {
		u, err := url.Parse(page)
		if err != nil || u.Host == "" || r.Project.Key == "" || r.Slug == "" {
			continue
		}
		context, _, found := strings.Cut(u.Path, "/projects/")
		if !found {
			continue
		}
		name := strings.ToLower(string(r.Project.Key)) + "/" + string(r.Slug)
		e.addRepositories("https://"+u.Host+context+"/scm/"+name, "ssh://"+u.Host+"/"+name)
	}
}

package pullrequest

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/sluice-cd/sluice/libs/githost"
	"github.com/sluice-cd/sluice/libs/plain"
)

// Config says which repository of which host, and how to get in.
type Config struct {
	Kind Kind
	// Repository is the address of the repository, https://host/owner/name as it
	// is cloned; one of SSH (ssh://git@host/owner/name, git@host:owner/name) serves too.
	Repository string
	// API is the address of the host's API where it is not the usual one.
	API string
	// Username is needed where the host wants basic authentication: Bitbucket
	// Cloud with an app password or API token. Others take the token alone.
	Username string
	Token    string
	// Insecure allows plain HTTP, over which the token can be read.
	Insecure bool
	// Transport carries certificates and proxy; nil is the default one.
	Transport http.RoundTripper
}

// Client works on the requests of one repository. It may be used by many at once.
type Client struct{ driver driver }

// New checks the settings; it does not call the host.
func New(c Config) (*Client, error) {
	repo, err := githost.Parse(c.Kind, c.Repository)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if c.Token == "" || strings.ContainsAny(c.Token+c.Username, "\r\n") {
		return nil, fmt.Errorf("%w: token of the git host is missing or has line ends", ErrInvalid)
	}
	t, err := newTransport(c, repo)
	if err != nil {
		return nil, err
	}
	drivers := map[Kind]func(*transport, githost.Repository) (driver, error){
		GitHub: newGitHub, GitLab: newGitLab, Gitea: newGitea, Bitbucket: newBitbucket, BitbucketServer: newDataCenter, Azure: newAzure,
	}
	d, err := drivers[c.Kind](t, repo)
	if err != nil {
		return nil, err
	}
	return &Client{driver: d}, nil
}

// ByBranch gives the requests of a head branch of the repository itself in any state, newest first.
func (c *Client) ByBranch(ctx context.Context, head string) ([]Request, error) {
	if err := CheckBranch(head); err != nil {
		return nil, err
	}
	all, err := c.driver.list(ctx, head)
	if err != nil {
		return nil, fmt.Errorf("find pull requests of branch %s: %w", head, err)
	}
	var found []Request
	for _, r := range all { // whatever the host understood by its filter
		if r.Head == head && !r.fork { // nor one that a stranger opened from a branch of that name
			found = append(found, r)
		}
	}
	return found, nil
}

// ByGroup gives the open requests of a group, newest first. There should be one
// at most.
func (c *Client) ByGroup(ctx context.Context, group string) ([]Request, error) {
	all, err := c.driver.list(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("find pull requests of group %q: %w", group, err)
	}
	var found []Request
	for _, r := range all {
		if r.State == Open && r.Group == GroupID(group) {
			found = append(found, r)
		}
	}
	return found, nil
}

// Get gives one request.
func (c *Client) Get(ctx context.Context, id int64) (Request, error) {
	r, err := c.driver.get(ctx, id)
	if err != nil {
		return Request{}, fmt.Errorf("read pull request %d: %w", id, err)
	}
	return r, nil
}

// Create opens a request.
func (c *Client) Create(ctx context.Context, d Draft) (Request, error) {
	d, err := c.finish(d)
	if err != nil {
		return Request{}, err
	}
	r, err := c.driver.create(ctx, d)
	if err != nil {
		return r, fmt.Errorf("open pull request from %s to %s: %w", d.Head, d.Base, err)
	}
	return r, nil
}

// Label adds labels to an open request.
func (c *Client) Label(ctx context.Context, id int64, labels []string) error {
	return c.add(ctx, id, labels, "set labels of pull request %d: %w", c.driver.label)
}

// Ask adds reviewers to an open request. Some hosts ask those again who were asked before.
func (c *Client) Ask(ctx context.Context, id int64, reviewers []string) error {
	return c.add(ctx, id, reviewers, "ask for a review of pull request %d: %w", c.driver.ask)
}

func (c *Client) add(ctx context.Context, id int64, names []string, what string, do func(context.Context, Request, []string) error) error {
	if len(names) == 0 {
		return nil
	}
	if err := checkNames(names); err != nil {
		return err
	}
	return c.act(ctx, id, what, func(ctx context.Context, r Request) error { return do(ctx, r, names) })
}

func checkNames(names []string) error {
	for _, name := range names {
		if name == "" || len(name) > 100 || plain.Line(name, 100) != name || strings.Contains(name, ",") {
			return fmt.Errorf("%w: %q cannot be a label or reviewer", ErrInvalid, plain.Line(name, 100))
		}
	}
	return nil
}

// Update gives an open request the draft's title and body.
func (c *Client) Update(ctx context.Context, id int64, d Draft) (Request, error) {
	d, err := c.finish(d)
	if err != nil {
		return Request{}, err
	}
	r, err := c.open(ctx, id)
	if err != nil {
		return r, err
	}
	if err := c.driver.update(ctx, r, d); err != nil {
		return r, fmt.Errorf("update pull request %d: %w", id, err)
	}
	return c.Get(ctx, id)
}

// AutoMerge asks the host to merge the request at its present head when its
// checks have passed.
func (c *Client) AutoMerge(ctx context.Context, id int64) error {
	return c.act(ctx, id, "merge pull request %d by itself: %w", c.driver.autoMerge)
}

// Close closes an open request without merging it.
func (c *Client) Close(ctx context.Context, id int64) error {
	return c.act(ctx, id, "close pull request %d: %w", c.driver.close)
}

// Comment writes Markdown under an open request.
func (c *Client) Comment(ctx context.Context, id int64, text string) error {
	text = commandLine.ReplaceAllString(plain.Text(text, true), `$1\/`)
	return c.act(ctx, id, "comment on pull request %d: %w", func(ctx context.Context, r Request) error {
		return c.driver.comment(ctx, r, text)
	})
}

func (c *Client) act(ctx context.Context, id int64, what string, do func(context.Context, Request) error) error {
	r, err := c.open(ctx, id)
	if err != nil {
		return err
	}
	if err := do(ctx, r); err != nil {
		return fmt.Errorf(what, id, err)
	}
	return nil
}

// open reads a request that must be open still.
func (c *Client) open(ctx context.Context, id int64) (Request, error) {
	r, err := c.Get(ctx, id)
	if err == nil && r.State != Open {
		err = fmt.Errorf("%w: pull request %d is %s", ErrRefused, id, r.State)
	}
	return r, err
}

// finish checks a draft and makes its texts fit for the host.
func (c *Client) finish(d Draft) (Draft, error) {
	for _, branch := range []string{d.Head, d.Base} {
		if err := CheckBranch(branch); err != nil {
			return d, err
		}
	}
	if d.Head == d.Base {
		return d, fmt.Errorf("%w: head and base are both %s", ErrInvalid, d.Head)
	}
	if d.Title = plain.Line(d.Title, maxTitle); d.Title == "" {
		return d, fmt.Errorf("%w: empty title", ErrInvalid)
	}
	d.Body = body(d, c.driver.maxBody())
	return d, nil
}

package pullrequest

import (
	"context"

	"github.com/sluice-cd/sluice/libs/githost"
)

// Kind is a kind of git host.
type Kind = githost.Kind

// Kinds of git hosts.
const (
	GitHub          = githost.GitHub
	GitLab          = githost.GitLab
	Gitea           = githost.Gitea
	Bitbucket       = githost.Bitbucket
	BitbucketServer = githost.BitbucketServer
	Azure           = githost.Azure
)

// State is what became of a request.
type State string

const (
	// Open can still be merged.
	Open State = "open"
	// Merged is in its base.
	Merged State = "merged"
	// Closed was closed without a merge, by somebody.
	Closed State = "closed"
)

// Request is a pull request as the host has it.
type Request struct {
	ID     int64 // the number within its repository
	URL    string
	Title  string
	Body   string // with the group's mark; some hosts cut it in listings
	Head   string // branch
	Base   string // branch
	Commit string // head commit; empty where the host does not say it
	State  State
	Group  string // GroupID of its group; empty when the request is not Sluice's

	version int64  // of Bitbucket Data Center, which wants to be told
	node    string // of GitHub's other API
	fork    bool   // whether the head branch is in another repository
	author  string // of Azure, in whose name it completes by itself
}

// Draft is what a request should be.
type Draft struct {
	Head, Base string // branches of the same repository; an update leaves them alone
	Group      string // key under which there is one open request at a time
	Title      string // one line
	Body       string // Markdown; pass what strangers wrote through Escape
}

// driver is one kind of host.
type driver interface {
	// list gives requests with the head branch in any state, or, without a
	// branch, open ones. Newest first.
	list(ctx context.Context, head string) ([]Request, error)
	get(ctx context.Context, id int64) (Request, error)
	create(ctx context.Context, d Draft) (Request, error)
	update(ctx context.Context, r Request, d Draft) error
	// label and ask add what is given, and take nothing away that a person added. Reviewers are
	// user names; on GitHub and Gitea owner/team too, on Bitbucket Cloud account ids or
	// {uuid}s, on Azure ids. Bitbucket has no labels.
	label(ctx context.Context, r Request, labels []string) error
	ask(ctx context.Context, r Request, reviewers []string) error
	autoMerge(ctx context.Context, r Request) error
	close(ctx context.Context, r Request) error
	comment(ctx context.Context, r Request, text string) error
	maxBody() int
}

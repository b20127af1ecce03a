// Package githost has what clients of the big git hosts' APIs have in common: where a repository is by its address, where its host's API
// is, and how a host says that it is asked too often. What is asked, and what comes of the answers, is the clients' affair.
package githost

// Kind is a kind of git host.
type Kind string

const (
	// GitHub is github.com or an Enterprise server.
	GitHub Kind = "github"
	// GitLab is gitlab.com or a server of one's own.
	GitLab Kind = "gitlab"
	// Gitea is a Gitea or Forgejo server.
	Gitea Kind = "gitea"
	// Bitbucket is bitbucket.org.
	Bitbucket Kind = "bitbucket"
	// BitbucketServer is Bitbucket Data Center, once called Server.
	BitbucketServer Kind = "bitbucket-server"
	// Azure is Azure DevOps, as a service or a server.
	Azure Kind = "azure"
)

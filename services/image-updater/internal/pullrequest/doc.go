// Package pullrequest opens, refreshes and closes pull requests (merge requests)
// on git hosts by their HTTP APIs: GitHub, GitLab, Gitea and Forgejo, Bitbucket
// Cloud, Bitbucket Data Center and Azure DevOps. It pushes nothing, and it does
// not decide when there should be a request.
//
// All hosts are spoken to by one small client instead of a library each: so
// bounds on answers, redirects, rate limits and errors are the same everywhere.
package pullrequest

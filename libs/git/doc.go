// Package git resolves the refs of GitRepositories, keeps what it fetched in
// bare mirrors on a local disk, and reads commits straight from their objects:
// there is no worktree, and so nothing that a repository could do to one.
//
// A mirror is a cache. It may vanish or be damaged at any time; what is missing
// is fetched again. One process owns a directory of mirrors. The package knows
// nothing of Kubernetes beyond the fields of a GitRepository's reference, and
// nothing of queues and statuses.
package git

// Package gitwatcher is the root of the module services/git-watcher.
package gitwatcher

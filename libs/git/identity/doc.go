// Package identity gets credentials for git repositories from those who issue
// them for a short time: GitHub for an installed App, Azure and AWS for the
// identity of a workload. It keeps them until shortly before they expire.
package identity

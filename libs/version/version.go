// Package version holds the version of this build.
package version

// Version is set at link time; "dev" for a build without.
var Version = "dev"

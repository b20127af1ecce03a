// Package access finds out, for a GitRepository, where its repository is and with
// which credentials and through which proxy to talk to it: from the spec, the
// Secrets that it names, and those who issue credentials for spec.provider.
package access

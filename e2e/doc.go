// Package e2e holds the end-to-end tests of Sluice: what users may rely on, proven with real processes. Each test brings a bus, the
// services and a git server of its own; all share one Kubernetes API server. Long ones are left out with -short.
package e2e

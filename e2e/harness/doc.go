// Package harness runs whole installations of Sluice for the end-to-end tests: real processes, a real Kubernetes API server, real
// git servers, and what it takes to push, to break things and to see what came of it.
//
// A [World] is what the tests of a package share: programs and API server. An [Env] is one test's own: bus, services, git server
// and namespace. Nothing here sleeps for a fixed time: every wait is for a condition and has a deadline.
package harness

// Package demo shows Sluice at work on one machine: it starts a Kubernetes API server, a git server with an example repository and
// all services as processes of their own, pushes a series of commits, and tells what becomes of each and when.
//
// What it measures is honest in this sense: the clock starts right before the branch of the bare repository moves, and ends when a
// watch of the API server delivers the object as the commit wants it. Nothing is polled, and nothing that the demo starts is faster
// than in earnest, except that etcd does not sync to disk.
package demo

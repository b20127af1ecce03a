// Package workload is what the benchmark has applied: a repository with many applications of four objects that share a base, the
// custom resources that follow it, and the same objects as plain requests.
package workload

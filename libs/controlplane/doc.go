// Package controlplane runs a real Kubernetes control plane on the loopback
// interface: etcd, kube-apiserver and, where asked for, kube-controller-manager
// and kube-scheduler. Tests, the demo and the benchmarks use it; it needs no
// cluster, container engine or downloaded program, since it builds the servers
// from the Go module tools/controlplane once and keeps them in a cache.
//
// It is not for serving anybody: etcd does not sync to disk and listens on the
// loopback interface without authentication.
//
// [Start] gives a new control plane, [StartOrUse] prefers a given cluster, and
// the package controlplanetest does either for a test. The servers end when
// the process that started them does, also when that process is killed.
package controlplane

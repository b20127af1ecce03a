// Package order says what has to be in the cluster before what. It knows kinds only, and puts each
// into one of a few classes: objects of one class can be applied side by side, and a class begins
// when the one before it is done. What depends on more than the kind is not decided here.
package order

import (
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Class is a step of an apply; lower ones come first. Pruning goes the other way round.
type Class int

const (
	// Definitions are what other objects live in or are instances of.
	Definitions Class = iota
	// Classes are chosen by name: StorageClass, IngressClass, GatewayClass and their like.
	Classes
	// Identities are accounts, roles, limits and volumes: what the API server looks up, or charges
	// against, when an object of a later class is created.
	Identities
	// Inputs are what workloads mount, read or are reached by. Bindings are here because a role
	// has to exist before it can be bound.
	Inputs
	// Workloads run containers.
	Workloads
	// Rest is every other kind, custom resources among them.
	Rest
	// Admission can refuse all that comes after it, and calls a service that must be up: so last.
	Admission
)

const (
	apps      = "apps"
	batch     = "batch"
	rbac      = "rbac.authorization.k8s.io"
	admission = "admissionregistration.k8s.io"
)

// Of returns the class of a kind. Group and kind must both match: a Service of another group is
// a custom resource.
func Of(gk schema.GroupKind) Class {
	switch gk {
	case schema.GroupKind{Kind: "Namespace"},
		schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"},
		schema.GroupKind{Group: rbac, Kind: "ClusterRole"}:
		return Definitions
	case schema.GroupKind{Kind: "ServiceAccount"},
		schema.GroupKind{Kind: "ResourceQuota"},
		schema.GroupKind{Kind: "LimitRange"},
		schema.GroupKind{Kind: "PersistentVolume"},
		schema.GroupKind{Group: "networking.k8s.io", Kind: "NetworkPolicy"},
		schema.GroupKind{Group: rbac, Kind: "ClusterRoleBinding"},
		schema.GroupKind{Group: rbac, Kind: "Role"}:
		return Identities
	case schema.GroupKind{Kind: "ConfigMap"},
		schema.GroupKind{Kind: "Secret"},
		schema.GroupKind{Kind: "Service"},
		schema.GroupKind{Kind: "PersistentVolumeClaim"},
		schema.GroupKind{Group: rbac, Kind: "RoleBinding"}:
		return Inputs
	case schema.GroupKind{Kind: "Pod"},
		schema.GroupKind{Kind: "ReplicationController"},
		schema.GroupKind{Group: apps, Kind: "Deployment"},
		schema.GroupKind{Group: apps, Kind: "StatefulSet"},
		schema.GroupKind{Group: apps, Kind: "DaemonSet"},
		schema.GroupKind{Group: apps, Kind: "ReplicaSet"},
		schema.GroupKind{Group: batch, Kind: "Job"},
		schema.GroupKind{Group: batch, Kind: "CronJob"}:
		return Workloads
	}
	switch {
	case gk.Group == admission:
		return Admission
	case strings.HasSuffix(gk.Kind, "Class"):
		return Classes
	}
	return Rest
}

// Group splits items into their classes, first class first, and keeps the order of the items within
// a class. Classes without an item are left out.
func Group[T any](items []T, kind func(T) schema.GroupKind) [][]T {
	var byClass [Admission + 1][]T
	for _, item := range items {
		class := Of(kind(item))
		byClass[class] = append(byClass[class], item)
	}
	var groups [][]T
	for _, group := range byClass {
		if len(group) > 0 {
			groups = append(groups, group)
		}
	}
	return groups
}

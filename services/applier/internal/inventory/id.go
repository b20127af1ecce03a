package inventory

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// rbacGroup holds the only kinds whose names may have a colon.
const rbacGroup = "rbac.authorization.k8s.io"

// ID names one object of a cluster, whatever version it is written in.
// Namespace is empty for kinds that live outside of namespaces.
type ID struct {
	Namespace, Name, Group, Kind string
}

// Of returns the ID of u as u is written. It does not know whether the kind is namespaced.
func Of(u *unstructured.Unstructured) ID {
	gk := u.GroupVersionKind().GroupKind()
	return ID{Namespace: u.GetNamespace(), Name: u.GetName(), Group: gk.Group, Kind: gk.Kind}
}

// GroupKind returns the kind with its group.
func (id ID) GroupKind() schema.GroupKind {
	return schema.GroupKind{Group: id.Group, Kind: id.Kind}
}

// String returns the form stored in a Kustomization's status: <namespace>_<name>_<group>_<kind>,
// with the colons of RBAC names written as double underscores.
func (id ID) String() string {
	name := id.Name
	if id.Group == rbacGroup {
		name = strings.ReplaceAll(name, ":", "__")
	}
	return strings.Join([]string{id.Namespace, name, id.Group, id.Kind}, "_")
}

// Subject returns the form people read in events and messages: Kind/namespace/name.
func (id ID) Subject() string {
	if id.Namespace == "" {
		return id.Kind + "/" + id.Name
	}
	return id.Kind + "/" + id.Namespace + "/" + id.Name
}

// ParseID reads what String writes. Namespace, group and kind have no underscore, so whatever is
// between them is the name. An RBAC name that has two underscores of its own comes back with a
// colon: the form cannot tell them apart, but String gives the same text again.
func ParseID(s string) (ID, error) {
	namespace, rest, ok := strings.Cut(s, "_")
	kindAt := strings.LastIndex(rest, "_")
	if !ok || kindAt < 0 {
		return ID{}, fmt.Errorf("parse inventory id %q: want <namespace>_<name>_<group>_<kind>", s)
	}
	rest, kind := rest[:kindAt], rest[kindAt+1:]
	groupAt := strings.LastIndex(rest, "_")
	if groupAt < 1 || kind == "" {
		return ID{}, fmt.Errorf("parse inventory id %q: want <namespace>_<name>_<group>_<kind>", s)
	}
	id := ID{Namespace: namespace, Name: rest[:groupAt], Group: rest[groupAt+1:], Kind: kind}
	if id.Group == rbacGroup {
		id.Name = strings.ReplaceAll(id.Name, "__", ":")
	}
	return id, nil
}

// Package inventory keeps the list of objects that a Kustomization has in the cluster, in the form
// that is stored in its status. It is about names only: what the objects hold, and whether they
// exist, is not known here.
package inventory

import (
	"errors"
	"iter"
	"maps"
	"slices"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
)

// Inventory is a set of objects, each with the API version it was last applied in. The zero value
// is empty and ready for use. Only Add changes one; it is not safe for concurrent use with others.
type Inventory struct {
	// entries is keyed by the stored form of the ID, because two names can share one form.
	entries map[string]entry
}

type entry struct {
	id      ID
	version string
}

// FromStatus reads an inventory out of a status. Entries that cannot be read are named in the error;
// all others are in the inventory that is returned with it.
func FromStatus(status *kustomizev1.ResourceInventory) (Inventory, error) {
	var inv Inventory
	if status == nil {
		return inv, nil
	}
	var errs []error
	for _, ref := range status.Entries {
		id, err := ParseID(ref.ID)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		inv.Add(id, ref.Version)
	}
	return inv, errors.Join(errs...)
}

// ToStatus returns the form for a status, sorted by id.
func (i Inventory) ToStatus() *kustomizev1.ResourceInventory {
	refs := make([]kustomizev1.ResourceRef, 0, len(i.entries))
	for id, version := range i.All() {
		refs = append(refs, kustomizev1.ResourceRef{ID: id.String(), Version: version})
	}
	return &kustomizev1.ResourceInventory{Entries: refs}
}

// Add puts an object into the inventory, or gives the one that is there another version.
func (i *Inventory) Add(id ID, version string) {
	if i.entries == nil {
		i.entries = map[string]entry{}
	}
	i.entries[id.String()] = entry{id: id, version: version}
}

// Has reports whether the object is in the inventory, in any version.
func (i Inventory) Has(id ID) bool {
	_, ok := i.entries[id.String()]
	return ok
}

// Len returns the number of objects.
func (i Inventory) Len() int { return len(i.entries) }

// All yields the objects and their versions, sorted by the stored form of the ID.
func (i Inventory) All() iter.Seq2[ID, string] {
	return func(yield func(ID, string) bool) {
		for _, key := range slices.Sorted(maps.Keys(i.entries)) {
			if e := i.entries[key]; !yield(e.id, e.version) {
				return
			}
		}
	}
}

// Union returns the objects of both. Where both have one, the version of o is taken.
func (i Inventory) Union(o Inventory) Inventory {
	both := Inventory{entries: make(map[string]entry, len(i.entries)+len(o.entries))}
	maps.Copy(both.entries, i.entries)
	maps.Copy(both.entries, o.entries)
	return both
}

// Difference returns the objects of i that o does not have.
func (i Inventory) Difference(o Inventory) Inventory {
	var rest Inventory
	for _, e := range i.entries {
		if !o.Has(e.id) {
			rest.Add(e.id, e.version)
		}
	}
	return rest
}

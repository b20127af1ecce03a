package live

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/services/applier/internal/health"
	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

// Standing is how an object is compared with what the last apply saw.
type Standing int

const (
	// Unknown objects are not watched, or the watch is behind, or the object belongs to another owner by now, or another tool
	// added to it what a regular visit takes away.
	Unknown Standing = iota
	// Same objects have the fields that we gave them.
	Same
	// Drifted objects are gone, or somebody changed or took a field of ours.
	Drifted
)

// finite is the kind whose objects end and are removed by themselves: that one is gone is no drift.
var finite = schema.GroupKind{Group: "batch", Kind: "Job"}

// Look compares an object as the watch has it with what the last apply saw.
func (w *Watcher) Look(owner types.NamespacedName, id inventory.ID, e Entry) Standing {
	st := w.store(scope{kind: id.GroupKind()})
	if st == nil {
		return Unknown
	}
	now, found, reached := st.get(types.NamespacedName{Namespace: id.Namespace, Name: id.Name}, e.Version)
	own, _ := now.state.(ownState)
	switch {
	case !reached:
		return Unknown
	case !found && id.GroupKind() == finite:
		return Unknown
	case !found:
		return Drifted
	case now.owner != owner:
		return Unknown
	case own.own != e.Own, own.time != e.Time:
		return Drifted
	case own.claimed:
		return Unknown
	}
	return Same
}

// Elsewhere reports whether an object is surely not the owner's any more: it is gone, or has another owner.
func (w *Watcher) Elsewhere(owner types.NamespacedName, id inventory.ID, e Entry) bool {
	st := w.store(scope{kind: id.GroupKind()})
	if st == nil {
		return false
	}
	now, found, reached := st.get(types.NamespacedName{Namespace: id.Namespace, Name: id.Name}, e.Version)
	return reached && (!found || now.owner != owner)
}

// Health returns the health of an object, if the watch knows that for the version of it that the last apply saw, or a later one. Of
// an object that an inventory names but the owner never applied, and of one that is another's, the watch of labelled objects says nothing.
func (w *Watcher) Health(owner types.NamespacedName, id inventory.ID, from uint64) (h health.Health, known bool) {
	s := healthScope(owner, w.interest(owner), id)
	st := w.store(s)
	if st == nil {
		return h, false
	}
	now, found, reached := st.get(types.NamespacedName{Namespace: id.Namespace, Name: id.Name}, from)
	labelled := s.single == inventory.ID{}
	switch {
	case !reached, labelled && from == 0, labelled && found && now.owner != owner:
		return h, false
	case !found:
		return health.Missing(), true
	}
	h, ok := now.state.(health.Health)
	return h, ok
}

package apply

import (
	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

// Action is what became of an object.
type Action string

// The actions.
const (
	Created    Action = "created"
	Configured Action = "configured"
	Unchanged  Action = "unchanged"
	// Skipped objects were left alone, because they or their manifests say so.
	Skipped Action = "skipped"
	Deleted Action = "deleted"
	// Gone objects were to be deleted and are not there, or are on their way out, already.
	Gone Action = "gone"
)

// Changed reports whether the action changed the cluster.
func (a Action) Changed() bool { return a == Created || a == Configured || a == Deleted }

// Change is what became of one object.
type Change struct {
	ID      inventory.ID
	Version string
	Action  Action
	// Note gives a reason where one is needed.
	Note string
	// Seen is the state after the action. It is empty if the object was not applied.
	Seen Seen
}

// String returns "Kind/namespace/name action".
func (c Change) String() string { return c.ID.Subject() + " " + string(c.Action) }

// Pending is an object that waits for something that is under way.
type Pending struct {
	ID     inventory.ID
	Reason string
}

// Result is what a run of Apply did.
type Result struct {
	// Changes are in the order of the run. Failed and pending objects have none.
	Changes []Change
	// Inventory is the whole set, with skipped and pending objects, if Apply returned no error.
	// After an error it is what the run reached, whether that failed or not: objects that may be in
	// the cluster. The caller must then keep what the old inventory had, and must not prune.
	Inventory inventory.Inventory
	// Pending objects could not be applied yet. Come back soon.
	Pending []Pending
}

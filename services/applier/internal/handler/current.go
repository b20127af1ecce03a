package handler

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/services/applier/internal/apply"
	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
	"github.com/sluice-cd/sluice/services/applier/internal/live"
)

// drift is what the watch knows of an application's objects against what the last apply saw.
type drift struct {
	drifted []inventory.ID
	unknown int // objects of which nothing is known for sure
}

// standing compares what the last apply saw with what the watch sees now.
func (a *Applier) standing(key types.NamespacedName, objects inventory.Inventory, known *applied) drift {
	var d drift
	watcher := a.watchers.of(key, known.Cluster)
	for id := range objects.All() {
		seen, remembered := known.Objects.Get(id)
		switch {
		case !remembered || watcher == nil:
			d.unknown++
		default:
			d.count(id, watcher.Look(key, id, seen))
		}
	}
	return d
}

func (d *drift) count(id inventory.ID, s live.Standing) {
	switch s {
	case live.Drifted:
		d.drifted = append(d.drifted, id)
	case live.Unknown:
		d.unknown++
	}
}

// isCurrent says whether this very set is in the cluster for this spec, so that only the revision is new: it was applied, the watch
// knows of no drift, and it either sees every object or the apply was less than about an interval ago.
func (a *Applier) isCurrent(ctx context.Context, j *job) bool {
	if !j.isApplied() || !a.isSameCluster(ctx, j) {
		return false
	}
	named, err := inventory.FromStatus(j.k.Status.Inventory)
	if err != nil {
		return false
	}
	j.drift = a.standing(j.run.Key, named, &j.known)
	if len(j.drift.drifted) > 0 {
		return false
	}
	if j.drift.unknown == 0 {
		j.known.At = time.Now() // as good as an apply that changes nothing
	}
	return time.Since(j.known.At) < j.k.Spec.Interval.Duration*8/10
}

// isSameCluster says whether what leads to the cluster is as it was at the last apply. What is wrong with it the apply will say.
func (a *Applier) isSameCluster(ctx context.Context, j *job) bool {
	if j.k.Spec.KubeConfig == nil {
		return j.known.Cluster == ""
	}
	c, err := a.cluster(ctx, placeOf(j.k))
	return err == nil && j.known.Description == a.digest(c.content)
}

// isApplied says whether this very set was applied completely for this spec.
func (j *job) isApplied() bool {
	return j.known.UID == j.k.UID && j.known.Set == j.rendered.Set && j.known.Generation == j.k.Generation && !j.isRequested() &&
		j.k.Status.Inventory != nil && len(j.known.Begun) == 0 && !j.known.Incomplete && j.known.Held == ""
}

// isRequested says whether somebody asked for this run: then the API server is asked about every object.
func (j *job) isRequested() bool { return j.known.RequestedAt != j.rendered.RequestedAt }

// settled says of an object, by the digest of what would be sent, whether it is surely in the cluster as it was last applied.
func (a *Applier) settled(j *job) func(inventory.ID, string) bool {
	watcher := a.watchers.of(j.run.Key, j.known.Cluster)
	if j.isRequested() || watcher == nil {
		return nil
	}
	return func(id inventory.ID, digest string) bool {
		seen, ok := j.known.Objects.Get(id)
		return ok && seen.Digest == live.Digest(digest, a.Sealer.NameKey()) && watcher.Look(j.run.Key, id, seen) == live.Same
	}
}

// remember keeps what an apply saw. Objects that it left alone stay as they were remembered, unless they asked for it.
func (a *Applier) remember(j *job, changes []apply.Change) {
	for _, c := range changes {
		entry, ok := live.NewEntry(c.Seen, a.Sealer.NameKey())
		switch {
		case ok:
			j.known.Objects.Put(c.ID, entry)
		case c.Action == apply.Skipped || c.Action == apply.Deleted || c.Action == apply.Gone:
			j.known.Objects.Drop(c.ID)
		}
	}
}

// freeRepairs is how many repairs of drift follow each other at once. Then each waits longer: it is a tug of war with somebody.
const (
	freeRepairs    = 5
	firstPatience  = 2 * time.Second
	quietPatience  = time.Minute
	maxPatienceLog = 16
)

// patience is how long to wait before drift is repaired once more, zero when something else is to be done, too.
func (j *job) patience() time.Duration {
	if len(j.drift.drifted) == 0 || !j.isApplied() {
		return 0
	}
	return max(0, j.delay()-time.Since(j.known.RepairedAt))
}

func (j *job) delay() time.Duration {
	n := j.known.Repairs - freeRepairs
	if n < 0 {
		return 0
	}
	return min(firstPatience<<min(n, maxPatienceLog), j.k.Spec.Interval.Duration)
}

// countRepair notes that drift was repaired.
func (j *job) countRepair() {
	if time.Since(j.known.RepairedAt) > quietPatience+2*j.delay() {
		j.known.Repairs = 0
	}
	j.known.Repairs++
	j.known.RepairedAt = time.Now()
}

package bus

import (
	"context"
	"fmt"
	"time"
)

// Grace is how long an artifact that nobody names is kept: longer than the time between storing bytes and writing the
// status that names them, and short enough that garbage is gone within the hour.
const Grace = 15 * time.Minute

// Collected says what a collection removed.
type Collected struct {
	Artifacts int   // objects that nobody named
	Orphans   int   // uploads that never became an object
	Bytes     int64 // size of the removed objects
}

// Collect deletes from a store everything that was last put longer than grace ago and that named does not name. named is
// asked after the listing, so what is named at that moment survives; it must read from the source of truth, not a cache. What is put
// again after the listing survives, too.
func Collect(ctx context.Context, store ArtifactStore, grace time.Duration, named func(context.Context) (map[string]bool, error)) (Collected, error) {
	var done Collected
	have, err := store.List(ctx)
	if err != nil {
		return done, err
	}
	wanted, err := named(ctx)
	if err != nil {
		return done, fmt.Errorf("collect artifacts: find out which are named: %w", err)
	}
	for _, a := range have {
		if wanted[a.Name] || time.Since(a.Modified) < grace {
			continue
		}
		if err := remove(ctx, store, a); err != nil {
			return done, err
		}
		done.Artifacts++
		done.Bytes += a.Size
	}
	if s, ok := store.(*smallStore); ok {
		done.Orphans, err = s.removeOrphans(ctx, grace)
	}
	return done, err
}

func remove(ctx context.Context, store ArtifactStore, a ArtifactInfo) error {
	if s, ok := store.(*smallStore); ok {
		return s.deleteListed(ctx, a)
	}
	return store.Delete(ctx, a.Name)
}

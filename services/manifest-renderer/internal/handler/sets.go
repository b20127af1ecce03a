package handler

import (
	"context"
	"sync"
	"time"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/seal"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/render"
)

// Sets keeps rendered sets, sealed, and their read-sets. What it knows to be stored it does not ask for again within a while: a commit
// asks once for each application.
type Sets struct {
	store  bus.ArtifactStore
	sealer *seal.Sealer

	mu     sync.Mutex
	stored map[string]time.Time // set → when it was last seen in the store
	reads
}

const (
	trustStored = 30 * time.Second
	mostStored  = 4096 // sets that are remembered to be stored, past trustStored
)

// NewSets makes a Sets over a store.
func NewSets(store bus.ArtifactStore, sealer *seal.Sealer) *Sets {
	return &Sets{store: store, sealer: sealer, stored: map[string]time.Time{}, reads: newReads()}
}

// Stored says whether a set is in the store.
func (s *Sets) Stored(ctx context.Context, name string) (bool, error) {
	s.mu.Lock()
	seen := s.stored[name]
	s.mu.Unlock()
	if time.Since(seen) < trustStored {
		return true, nil
	}
	stored, err := s.store.Has(ctx, name)
	if err == nil && stored {
		s.noteStored(name)
	}
	return stored, err
}

func (s *Sets) noteStored(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for other, seen := range s.stored {
		if len(s.stored) > mostStored && time.Since(seen) > trustStored {
			delete(s.stored, other)
		}
	}
	s.stored[name] = time.Now()
}

// Put seals a result's set and keeps it and its read-set under their digests.
func (s *Sets) Put(ctx context.Context, next state.Rendered, result *render.Result) (state.Rendered, error) {
	var err error
	if next.ReadSet, err = s.PutReadSet(ctx, result.ReadSet); err != nil {
		return next, err
	}
	next.Objects = len(result.Objects)
	next.Set = s.sealer.Name(result.Manifests)
	sealed, err := s.sealer.Seal(next.Set, result.Manifests)
	if err != nil {
		return next, err
	}
	if err := s.store.Put(ctx, next.Set, sealed); err != nil {
		return next, err
	}
	s.noteStored(next.Set)
	return next, nil
}

// NamedSets returns what rendered Kustomizations name in the store of sets.
func NamedSets(b *bus.Conn) func(context.Context) (map[string]bool, error) {
	return func(ctx context.Context) (map[string]bool, error) {
		known, err := stage.ListStates[state.Rendered](ctx, b, state.StageRender, "")
		if err != nil {
			return nil, err
		}
		named := map[string]bool{}
		for _, r := range known {
			named[r.Set], named[r.ReadSet], named[r.FailedReadSet] = true, true, true
		}
		return named, nil
	}
}

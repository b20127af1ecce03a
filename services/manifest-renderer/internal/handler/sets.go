package handler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sluice-cd/sluice/libs/archive"
	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/seal"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/render"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/tree"
)

// Sets keeps rendered sets, sealed, and their read-sets. What it knows to be stored it does not ask for again within a while: a commit
// asks once for each application.
type Sets struct {
	store  bus.ArtifactStore
	sealer *seal.Sealer

	mu     sync.Mutex
	stored map[string]time.Time     // set → when it was last seen in the store
	read   map[string]*tree.ReadSet // by name
}

const (
	trustStored = 30 * time.Second
	mostRead    = 4096 // read-sets kept in memory; past that it starts anew
)

// NewSets makes a Sets over a store.
func NewSets(store bus.ArtifactStore, sealer *seal.Sealer) *Sets {
	return &Sets{store: store, sealer: sealer, stored: map[string]time.Time{}, read: map[string]*tree.ReadSet{}}
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
		if len(s.stored) > mostRead && time.Since(seen) > trustStored {
			delete(s.stored, other)
		}
	}
	s.stored[name] = time.Now()
}

// ReadSet returns a read-set; nil when it is not stored or written by another version.
func (s *Sets) ReadSet(ctx context.Context, name string) (*tree.ReadSet, error) {
	s.mu.Lock()
	known := s.read[name]
	s.mu.Unlock()
	if known != nil {
		return known, nil
	}
	data, err := s.store.Get(ctx, name)
	if errors.Is(err, bus.ErrArtifactNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	read := &tree.ReadSet{}
	if json.Unmarshal(data, read) != nil {
		return nil, nil
	}
	s.noteRead(name, read)
	return read, nil
}

func (s *Sets) noteRead(name string, read *tree.ReadSet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.read) >= mostRead {
		clear(s.read)
	}
	s.read[name] = read
}

// Put seals a result's set and keeps it and its read-set under their digests.
func (s *Sets) Put(ctx context.Context, next state.Rendered, result *render.Result) (state.Rendered, error) {
	var err error
	if next.ReadSet, err = s.PutReadSet(ctx, &result.ReadSet); err != nil {
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

// PutReadSet keeps a read-set under its digest, and returns that.
func (s *Sets) PutReadSet(ctx context.Context, read *tree.ReadSet) (name string, err error) {
	data, err := json.Marshal(read)
	if err != nil {
		return "", fmt.Errorf("write read-set: %w", err)
	}
	name = archive.Digest(data)
	if err := s.store.Put(ctx, name, data); err != nil {
		return "", err
	}
	s.noteRead(name, read)
	return name, nil
}

// KnownReadSet returns a read-set if this process remembers it.
func (s *Sets) KnownReadSet(name string) *tree.ReadSet {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read[name]
}

// NamedSets returns what rendered Kustomizations name in the store of sets.
func NamedSets(b *bus.Conn) func(context.Context) (map[string]bool, error) {
	return func(ctx context.Context) (map[string]bool, error) {
		known, err := stage.ListStates[state.Rendered](ctx, b, state.StageRender)
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

package handler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/archive"
	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/tree"
)

// reads are the read-sets in memory: those of the last renders of Kustomizations, and few others. The lock of Sets guards them.
type reads struct {
	read  map[string]tree.ReadSet         // by name
	last  map[types.NamespacedName]string // Kustomization → name of what its last render read
	users map[string]int                  // of names in last
}

func newReads() reads {
	return reads{map[string]tree.ReadSet{}, map[types.NamespacedName]string{}, map[string]int{}}
}

// ReadSet returns a read-set; nil when it is not stored or written by another version.
func (s *Sets) ReadSet(ctx context.Context, name string) (*tree.ReadSet, error) {
	if read := s.knownReadSet(name); read != nil {
		return read, nil
	}
	data, err := s.store.Get(ctx, name)
	if errors.Is(err, bus.ErrArtifactNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var read tree.ReadSet
	if json.Unmarshal(data, &read) != nil {
		return nil, nil
	}
	s.noteRead(name, read)
	return &read, nil
}

// PutReadSet keeps a read-set under its digest, and returns that.
func (s *Sets) PutReadSet(ctx context.Context, read tree.ReadSet) (name string, err error) {
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

// noteRead keeps a copy: a pointer into a render's result would keep all of that.
func (s *Sets) noteRead(name string, read tree.ReadSet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read[name] = read
	const slack = 64 // for those that are about to be somebody's
	if len(s.read) > 2*(len(s.last)+slack) {
		maps.DeleteFunc(s.read, func(name string, _ tree.ReadSet) bool { return s.users[name] == 0 })
	}
}

func (s *Sets) knownReadSet(name string) *tree.ReadSet {
	s.mu.Lock()
	defer s.mu.Unlock()
	if read, known := s.read[name]; known {
		return &read
	}
	return nil
}

// Remember says which read-set is that of a Kustomization's last render. The one before is forgotten when it is nobody's any more.
func (s *Sets) Remember(key types.NamespacedName, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last[key] == name {
		return
	}
	s.users[name]++
	s.forget(key)
	s.last[key] = name
}

// Forget forgets what a Kustomization that is gone read.
func (s *Sets) Forget(key types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(key)
}

// forget is Forget for a caller that holds the lock.
func (s *Sets) forget(key types.NamespacedName) {
	name, known := s.last[key]
	if !known {
		return
	}
	delete(s.last, key)
	if s.users[name]--; s.users[name] == 0 {
		delete(s.users, name)
		delete(s.read, name)
	}
}

// LastRead returns what the last render of a Kustomization read, if this process remembers it.
func (s *Sets) LastRead(key types.NamespacedName) *tree.ReadSet {
	s.mu.Lock()
	name := s.last[key]
	s.mu.Unlock()
	return s.knownReadSet(name)
}

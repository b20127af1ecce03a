package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
)

// Parts are documents beside the record of an object, for what would make it large: written under the same lock, each by itself, at once.
// They are not forgotten with the object; whoever writes them drops them.

// LoadPart reads a part into v, and says whether there is one.
func (r *Run) LoadPart(ctx context.Context, name string, v any) (bool, error) {
	return ReadPart(ctx, r.bus, r.stage, r.Key, name, v)
}

// SavePart keeps a part, if the lock is still held. v must hold no secrets.
func (r *Run) SavePart(ctx context.Context, name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write part %s of %s %s: %w", name, r.stage, r.Key, err)
	}
	if err := r.lock.put(ctx, bus.PartKey(r.stage, r.Key, name), data); err != nil {
		return fmt.Errorf("write part %s of %s %s: %w", name, r.stage, r.Key, err)
	}
	r.parts.Store(true)
	return nil
}

// DropPart removes parts.
func (r *Run) DropPart(ctx context.Context, names ...string) error {
	if err := r.Guard(); err != nil {
		return err
	}
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = bus.PartKey(r.stage, r.Key, name)
	}
	return r.bus.DropState(ctx, keys...)
}

// Part is a part as it was read.
type Part[T any] struct {
	Value   T
	Written time.Time
}

// ReadParts reads all parts of an object whose names want takes, of this or another stage.
func ReadParts[T any](ctx context.Context, b *bus.Conn, stage string, key types.NamespacedName, want func(name string) bool) (map[string]Part[T], error) {
	parts, err := b.ListParts(ctx, stage, key)
	if err != nil {
		return nil, err
	}
	out := make(map[string]Part[T], len(parts))
	for name, p := range parts {
		if !want(name) {
			continue
		}
		var v T
		if err := json.Unmarshal(p.Value, &v); err != nil {
			return nil, fmt.Errorf("read part %s of %s %s: %w", name, stage, key, err)
		}
		out[name] = Part[T]{v, p.Written}
	}
	return out, nil
}

// ReadPart reads into v a part of an object of another stage, and says whether there is one.
func ReadPart(ctx context.Context, b *bus.Conn, stage string, key types.NamespacedName, name string, v any) (bool, error) {
	entry, err := b.GetState(ctx, bus.PartKey(stage, key, name))
	if err != nil || len(entry.Value) == 0 {
		return false, err
	}
	if err := json.Unmarshal(entry.Value, v); err != nil {
		return false, fmt.Errorf("read part %s of %s %s: %w", name, stage, key, err)
	}
	return true, nil
}

// FailuresOf is how many runs of an object failed in a row in another stage.
func FailuresOf(ctx context.Context, b *bus.Conn, stage string, key types.NamespacedName) (int, error) {
	r, err := loadRecord(ctx, b, stage, key)
	if err != nil {
		return 0, fmt.Errorf("read failures of %s %s: %w", stage, key, err)
	}
	return r.Failures, nil
}

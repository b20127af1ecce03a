package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
)

// record is what a stage remembers about an object, under bus.RecordKey, written only by the holder of its lock.
type record struct {
	// Seq and At are those of the latest trigger that a finished run stands for. Both must be reached for a
	// trigger to count as done: a stream that was wiped starts its sequence again.
	Seq uint64    `json:"seq,omitempty"`
	At  time.Time `json:"at,omitzero"`
	// Failures in a row, and runs in a row that never ended.
	Failures int `json:"failures,omitempty"`
	Crashes  int `json:"crashes,omitempty"`
	// Next is when the armed next run is due; zero when none is armed.
	Next   time.Time `json:"next,omitzero"`
	Budget budget    `json:"budget,omitzero"`
	// State is the handler's.
	State json.RawMessage `json:"state,omitempty"`
}

// covers says whether a finished run already stands for this trigger.
func (r *record) covers(t trigger) bool { return t.seq <= r.Seq && !t.at.After(r.At) }

func loadRecord(ctx context.Context, b *bus.Conn, stage string, key types.NamespacedName) (*record, error) {
	entry, err := b.GetState(ctx, bus.RecordKey(stage, key))
	if err != nil {
		return nil, err
	}
	return parseRecord(entry.Value)
}

func parseRecord(data []byte) (*record, error) {
	r := &record{}
	if len(data) == 0 {
		return r, nil
	}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("parse record: %w", err)
	}
	return r, nil
}

func (r *record) marshal() ([]byte, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("write record: %w", err)
	}
	return data, nil
}

// ReadState reads into v what the handler of another stage last saved about an object, and says whether there is anything. It is as
// fresh as the last finished Save: no cache stands between.
func ReadState(ctx context.Context, b *bus.Conn, stage string, key types.NamespacedName, v any) (bool, error) {
	r, err := loadRecord(ctx, b, stage, key)
	if err != nil {
		return false, fmt.Errorf("read state of %s %s: %w", stage, key, err)
	}
	return r.state(v)
}

// ListStates reads what the handler of a stage last saved, for every object it knows; for those of one namespace unless it is empty.
func ListStates[T any](ctx context.Context, b *bus.Conn, stage, namespace string) (map[types.NamespacedName]T, error) {
	records, err := b.ListRecords(ctx, stage, namespace)
	if err != nil {
		return nil, err
	}
	out := make(map[types.NamespacedName]T, len(records))
	for key, data := range records {
		r, err := parseRecord(data)
		if err != nil {
			return nil, fmt.Errorf("state of %s %s: %w", stage, key, err)
		}
		var v T
		if found, err := r.state(&v); err != nil {
			return nil, fmt.Errorf("state of %s %s: %w", stage, key, err)
		} else if found {
			out[key] = v
		}
	}
	return out, nil
}

func (r *record) state(v any) (bool, error) {
	if len(r.State) == 0 {
		return false, nil
	}
	if err := json.Unmarshal(r.State, v); err != nil {
		return false, fmt.Errorf("parse state: %w", err)
	}
	return true, nil
}

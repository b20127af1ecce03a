package bus

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"k8s.io/apimachinery/pkg/types"
)

// PartKey is the key in the state bucket of a part of what a stage remembers about an object: what would make its record large, in documents
// of their own. name may be any text.
func PartKey(stage string, key types.NamespacedName, name string) string {
	return partPrefix(stage, key) + escape(name)
}

func partPrefix(stage string, key types.NamespacedName) string {
	return objectSubject("part", stage, key) + "."
}

// Part is a part of what a stage remembers about an object.
type Part struct {
	Name     string
	Value    []byte
	Revision uint64
	Written  time.Time
}

// ListParts reads all parts of an object, by name.
func (c *Conn) ListParts(ctx context.Context, stage string, key types.NamespacedName) (map[string]Part, error) {
	prefix := StateSubject(partPrefix(stage, key))
	out := map[string]Part{}
	err := c.each(ctx, streamState, prefix+"*", false, func(m jetstream.Msg) error {
		name, err := unescape(strings.TrimPrefix(m.Subject(), prefix))
		if err != nil {
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if !isMarker(m.Headers()) {
			out[name] = Part{name, m.Data(), meta.Sequence.Stream, meta.Timestamp}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list parts of %s %s: %w", stage, key, err)
	}
	return out, nil
}

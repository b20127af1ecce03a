package git

import (
	"context"
	"errors"
	"fmt"
)

// Snapshot is one commit in a mirror. It can be read until its Resolved is
// closed, and is not for concurrent use.
type Snapshot struct {
	Revision Revision
	Commit   Commit

	resolved *Resolved
	objects  *objects
	target   target
}

// read runs f, and once more on a fresh mirror when it found the mirror damaged.
func (s *Snapshot) read(ctx context.Context, doing string, f func(*objects) error) error {
	err := f(s.objects)
	if errors.Is(err, errDamaged) {
		if err = s.reopen(ctx, err); err == nil {
			err = f(s.objects)
		}
	}
	if err != nil {
		return fmt.Errorf("unable to %s of '%s' at %s: %w", doing, display(s.resolved.url), s.Revision, err)
	}
	return nil
}

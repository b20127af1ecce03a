package branch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// DefaultAttempts is how often Update tries where races are lost.
	DefaultAttempts = 20
	maxPause        = 2 * time.Second
)

// Job is a change that can be made again and again until it is pushed.
type Job struct {
	Options
	PushOptions
	// Attempts is how often to try; the default is DefaultAttempts.
	Attempts int
	// Make looks at the branch as it is now and says what to commit. Nil means
	// that there is nothing to do. It is called again after each lost race.
	Make func(ctx context.Context, b *Branch) (*Draft, error)
}

// Update opens the branch, makes the commit and pushes it, and does all of it again
// when somebody else was quicker. The commit is nil when there was nothing to do. A
// commit that comes with a *PartialError is in the branch.
func Update(ctx context.Context, j Job) (*Commit, error) {
	if j.Attempts == 0 {
		j.Attempts = DefaultAttempts
	}
	for attempt := 1; ; attempt++ {
		commit, err := j.once(ctx)
		if !raceLost(err) || isPartial(err) {
			return commit, err
		}
		if attempt == j.Attempts {
			return nil, fmt.Errorf("%d attempts: %w", attempt, err)
		}
		if err := pause(ctx, attempt); err != nil {
			return nil, err
		}
	}
}

func (j Job) once(ctx context.Context) (commit *Commit, err error) {
	b, err := Open(ctx, j.Options)
	if err != nil {
		return nil, err
	}
	defer func() { _ = b.Close() }()
	draft, err := j.Make(ctx, b)
	if err != nil || draft == nil {
		return nil, err
	}
	commit, err = b.Commit(ctx, *draft)
	if errors.Is(err, ErrUnchanged) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return commit, b.Push(ctx, commit, j.PushOptions)
}

// pause lets rivals get out of step.
func pause(ctx context.Context, attempt int) error {
	longest := min(20*time.Millisecond<<min(attempt, 10), maxPause)
	select {
	case <-time.After(rand.N(longest)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

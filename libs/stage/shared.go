package stage

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// ErrShared says that the run of another object holds a lock that they share: come back soon.
var ErrShared = errors.New("somebody else is at it")

// sharedNamespace is that of the keys of shared locks; no namespace of a cluster has such a name.
const sharedNamespace = "_shared"

// Shared is a lock that several objects of a stage have in common, held by one of their runs.
type Shared struct {
	lock *lock
	end  func()
}

// Share takes, beside the lock of the object, one of a name that several objects have in common, such as what they all write to. It is kept
// until Release; the context that is returned ends when it cannot be. ErrShared when another run has it.
func (r *Run) Share(ctx context.Context, name string) (context.Context, *Shared, error) {
	held, err := r.lock.locks.acquire(ctx, types.NamespacedName{Namespace: sharedNamespace, Name: name})
	if errors.Is(err, errBusy) {
		return ctx, nil, ErrShared
	}
	if err != nil {
		return ctx, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	s, done := &Shared{lock: held}, make(chan struct{})
	s.end = func() { cancel(nil); <-done }
	go func() {
		defer close(done)
		s.keep(ctx, cancel)
	}()
	return ctx, s, nil
}

// Guard says whether the lock is still surely held.
func (s *Shared) Guard() error { return s.lock.guard() }

// Release gives the lock back.
func (s *Shared) Release(ctx context.Context) {
	s.end()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	s.lock.release(ctx)
}

// keep renews the lock until ctx ends, and ends it when that fails until the lock has expired.
func (s *Shared) keep(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(s.lock.locks.ttl / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.lock.renew(ctx)
		if ctx.Err() == nil && err != nil && s.lock.guard() != nil {
			cancel(ErrLockLost)
			return
		}
	}
}

package live

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// debounce is how long an owner is left alone after its first event: others follow it, and if the event is our own doing, the record
// of it is saved by then.
const debounce = 150 * time.Millisecond

// suspects are owners to be looked at, each at its time.
type suspects struct {
	mu   sync.Mutex
	due  map[types.NamespacedName]time.Time
	wake chan struct{}
}

func newSuspects() *suspects {
	return &suspects{due: map[types.NamespacedName]time.Time{}, wake: make(chan struct{}, 1)}
}

// add has an owner looked at after a delay, or earlier if that is due already.
func (s *suspects) add(owner types.NamespacedName, delay time.Duration) {
	s.mu.Lock()
	at := time.Now().Add(delay)
	was, known := s.due[owner]
	if !known || at.Before(was) {
		s.due[owner] = at
	}
	s.mu.Unlock()
	if !known {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// take returns the owners that are due, and when the next one is.
func (s *suspects) take(now time.Time) (due []types.NamespacedName, next time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next = time.Hour
	for owner, at := range s.due {
		if wait := at.Sub(now); wait > 0 {
			next = min(next, wait)
			continue
		}
		due = append(due, owner)
		delete(s.due, owner)
	}
	return due, next
}

func (s *suspects) run(ctx context.Context, check func(context.Context, types.NamespacedName) time.Duration) {
	for ctx.Err() == nil {
		due, next := s.take(time.Now())
		for _, owner := range due {
			if again := check(ctx, owner); again > 0 {
				s.add(owner, again)
			}
		}
		if len(due) > 0 {
			continue
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

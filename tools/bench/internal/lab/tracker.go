package lab

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Tracker holds the present states of objects by name, as a watch brings them.
type Tracker[T any] struct {
	mu      sync.Mutex
	now     map[string]T
	waiters map[*waiter[T]]bool
}

type waiter[T any] struct {
	left  map[string]bool
	ok    func(name string, state T) bool
	times map[string]time.Time
	done  chan struct{}
}

// NewTracker makes a tracker of nothing yet.
func NewTracker[T any]() *Tracker[T] {
	return &Tracker[T]{now: map[string]T{}, waiters: map[*waiter[T]]bool{}}
}

func (t *Tracker[T]) set(name string, state T) {
	at := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now[name] = state
	for w := range t.waiters {
		w.look(name, state, at)
		if len(w.left) == 0 {
			t.finish(w)
		}
	}
}

func (t *Tracker[T]) remove(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.now, name)
}

func (w *waiter[T]) look(name string, state T, at time.Time) {
	if w.left[name] && w.ok(name, state) {
		delete(w.left, name)
		w.times[name] = at
	}
}

// finish is called under the lock.
func (t *Tracker[T]) finish(w *waiter[T]) {
	if t.waiters[w] {
		delete(t.waiters, w)
		close(w.done)
	}
}

// Get returns the present state of an object.
func (t *Tracker[T]) Get(name string) (state T, found bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	state, found = t.now[name]
	return state, found
}

// Wait is a wait that has begun.
type Wait[T any] struct {
	tracker *Tracker[T]
	waiter  *waiter[T]
}

// Expect begins to wait until each named object was once seen in a state that is ok.
func (t *Tracker[T]) Expect(names []string, ok func(name string, state T) bool) *Wait[T] {
	w := &waiter[T]{left: map[string]bool{}, ok: ok, times: map[string]time.Time{}, done: make(chan struct{})}
	for _, name := range names {
		w.left[name] = true
	}
	at := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiters[w] = true
	for name, state := range t.now {
		w.look(name, state, at)
	}
	if len(w.left) == 0 {
		t.finish(w)
	}
	return &Wait[T]{t, w}
}

// NotWithinError says that something did not happen in time.
type NotWithinError struct {
	Limit   time.Duration
	Missing int
	Example string
}

func (e *NotWithinError) Error() string {
	return fmt.Sprintf("not within %s: %d objects, such as %s", e.Limit, e.Missing, e.Example)
}

// Within returns when each object was first seen as expected, or a NotWithinError.
func (w *Wait[T]) Within(ctx context.Context, limit time.Duration) (map[string]time.Time, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var err error
	select {
	case <-w.waiter.done:
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
	}
	w.tracker.mu.Lock()
	defer w.tracker.mu.Unlock()
	delete(w.tracker.waiters, w.waiter)
	if err == nil && len(w.waiter.left) > 0 {
		failure := &NotWithinError{Limit: limit, Missing: len(w.waiter.left)}
		for failure.Example = range w.waiter.left {
			break
		}
		err = failure
	}
	return w.waiter.times, err
}

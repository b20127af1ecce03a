package git

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sluice-cd/sluice/libs/git/wire"
)

// gather is how long a listing waits for others that want the same.
const gather = 2 * time.Millisecond

// listings share the answers of servers among those who ask the same at the same
// time. A listing answers those alone who asked before it began: whoever was told
// of a push after that gets a listing that knows of it. So there is at most one
// under way for each question, and one that waits to begin.
type listings struct {
	mu      sync.Mutex
	waiting map[string]*listing
	running map[string]*listing
}

// listing is one request for those who gathered for it.
type listing struct {
	done chan struct{}
	refs []wire.Ref
	err  error
}

func newListings() *listings {
	return &listings{waiting: map[string]*listing{}, running: map[string]*listing{}}
}

// list asks by the function of one of those who gathered under a key; when that
// one is called off, the others go on.
func (l *listings) list(ctx context.Context, key string, ask func(context.Context) ([]wire.Ref, error)) ([]wire.Ref, error) {
	for {
		mine, leads := l.join(key)
		if leads {
			l.lead(ctx, key, mine, ask)
			return mine.refs, mine.err
		}
		select {
		case <-mine.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if !isCalledOff(mine.err) || ctx.Err() != nil {
			return mine.refs, mine.err
		}
	}
}

func isCalledOff(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// join returns the listing that has not begun yet, and whether the caller is
// the first in it, who has to lead.
func (l *listings) join(key string) (*listing, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if found, ok := l.waiting[key]; ok {
		return found, false
	}
	l.waiting[key] = &listing{done: make(chan struct{})}
	return l.waiting[key], true
}

// lead waits for the listing under way and for others, asks, and tells.
func (l *listings) lead(ctx context.Context, key string, mine *listing, ask func(context.Context) ([]wire.Ref, error)) {
	defer close(mine.done)
	if mine.err = l.wait(ctx, key); mine.err != nil {
		l.mu.Lock()
		delete(l.waiting, key)
		l.mu.Unlock()
		return
	}
	l.mu.Lock()
	delete(l.waiting, key)
	l.running[key] = mine
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.running, key)
	}()
	mine.err = errCutShort
	mine.refs, mine.err = ask(ctx)
}

// errCutShort is what the others see when the one who asks panics.
var errCutShort = errors.New("the list of refs was cut short")

func (l *listings) wait(ctx context.Context, key string) error {
	l.mu.Lock()
	before := l.running[key]
	l.mu.Unlock()
	if before != nil {
		select {
		case <-before.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	select {
	case <-time.After(gather):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

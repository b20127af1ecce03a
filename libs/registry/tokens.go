package registry

import (
	"context"
	"sync"
	"time"
)

// tokens keeps tokens by what they are for, and lets each be asked for by one at a time.
type tokens struct {
	mu    sync.Mutex
	known map[string]*token
}

type token struct {
	turn    chan struct{}
	value   string
	expires time.Time
}

func newTokens() *tokens { return &tokens{known: map[string]*token{}} }

// get returns the token of a key, from issue where there is none that lasts.
func (t *tokens) get(ctx context.Context, key string, issue func(context.Context) (string, time.Time, error)) (string, error) {
	entry := t.entry(key)
	select {
	case entry.turn <- struct{}{}:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	defer func() { <-entry.turn }()
	if entry.value != "" && time.Now().Before(entry.expires) {
		return entry.value, nil
	}
	value, expires, err := issue(ctx)
	if err != nil {
		return "", err
	}
	entry.value, entry.expires = value, expires
	return value, nil
}

func (t *tokens) entry(key string) *token {
	t.mu.Lock()
	defer t.mu.Unlock()
	found, ok := t.known[key]
	if !ok {
		if len(t.known) >= maxLearnt {
			clear(t.known) // those in use are asked for again
		}
		found = &token{turn: make(chan struct{}, 1)}
		t.known[key] = found
	}
	return found
}

// drop forgets a token that was refused.
func (t *tokens) drop(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.known, key)
}

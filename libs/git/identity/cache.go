package identity

import (
	"context"
	"sync"
	"time"
)

// early is how long before its end a token is replaced.
const early = 5 * time.Minute

// maxTokens bounds the cache.
const maxTokens = 1000

// tokens keeps tokens by what they were issued for, and lets each be asked for
// by one at a time.
type tokens struct {
	now func() time.Time

	mu    sync.Mutex
	known map[string]*token
}

type token struct {
	turn    chan struct{}
	value   string
	expires time.Time
}

// get returns the token of a key, from issue when there is none that lasts.
func (t *tokens) get(ctx context.Context, key string, issue func(context.Context) (string, time.Time, error)) (string, error) {
	entry := t.entry(key)
	select {
	case entry.turn <- struct{}{}:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	defer func() { <-entry.turn }()
	if entry.value != "" && t.now().Before(entry.expires.Add(-early)) {
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
		if len(t.known) >= maxTokens {
			clear(t.known) // those in use are issued again
		}
		found = &token{turn: make(chan struct{}, 1)}
		t.known[key] = found
	}
	return found
}

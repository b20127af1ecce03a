package harness

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// pollEvery is how often a condition is looked at that nothing tells of.
const pollEvery = 25 * time.Millisecond

// Until returns when check is content, and fails the test with check's last word when it is not within the time.
func Until(t testing.TB, within time.Duration, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := poll(ctx, check); err != nil {
		t.Fatalf("%s: not within %s: %v", what, within, err)
	}
}

func poll(ctx context.Context, check func() error) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		last := check()
		if last == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), last)
		case <-tick.C:
		}
	}
}

// Pause waits for d or the end of ctx: for loads that are random in time, never for something to be done.
func Pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// Want returns an error when have is not want.
func Want[T comparable](what string, have, want T) error {
	if have != want {
		return fmt.Errorf("%s is %v, want %v", what, have, want)
	}
	return nil
}

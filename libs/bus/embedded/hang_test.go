package embedded

import (
	"errors"
	"testing"
	"time"
)

func TestInTime(t *testing.T) {
	failed := errors.New("failed")
	if err := inTime(func() error { return failed }, time.Minute); err != failed {
		t.Errorf("who answers: %v", err)
	}
	end := make(chan struct{})
	defer close(end)
	if err := inTime(func() error { <-end; return nil }, 30*time.Millisecond); !errors.Is(err, errHangs) {
		t.Errorf("who hangs: %v", err)
	}
}

package embedded

import (
	"errors"
	"testing"
	"time"
)

// Who started the server is told when it does not come back, and only then.
func TestServerThatHangs(t *testing.T) {
	var told error
	m := &mender{hangs: func(err error) { told = err }}
	failed := errors.New("failed")
	if err := m.inTime(func() error { return failed }, time.Minute); err != failed || told != nil {
		t.Fatalf("a restart that failed: %v, told %v", err, told)
	}
	end := make(chan struct{})
	defer close(end)
	if err := m.inTime(func() error { <-end; return nil }, time.Millisecond); err == nil || told == nil {
		t.Fatalf("a restart that hangs: %v, told %v", err, told)
	}
}

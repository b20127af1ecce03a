//go:build unix && !solaris && !aix

package controlplane

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// lockPoll is how often a busy lock is tried again; flock has no form that
// waits and can be cancelled.
const lockPoll = 200 * time.Millisecond

// lockFile takes the lock on a file, making the file when missing. It calls
// busy once when it has to wait. The lock ends with the process at the latest.
func lockFile(ctx context.Context, path string, busy func()) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := waitForLock(ctx, file, busy); err != nil {
		file.Close()
		return nil, err
	}
	return func() { file.Close() }, nil
}

func waitForLock(ctx context.Context, file *os.File, busy func()) error {
	ticker := time.NewTicker(lockPoll)
	defer ticker.Stop()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil || !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		if busy != nil {
			busy()
			busy = nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

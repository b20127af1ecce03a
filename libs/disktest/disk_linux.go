package disktest

import (
	"errors"
	"fmt"
	"syscall"
)

func mountMemory(path string, bytes int) error {
	return syscall.Mount("tmpfs", path, "tmpfs", 0, fmt.Sprintf("size=%d", bytes))
}

func unmount(path string) error { return syscall.Unmount(path, syscall.MNT_DETACH) }

func isNoSpace(err error) bool { return errors.Is(err, syscall.ENOSPC) }

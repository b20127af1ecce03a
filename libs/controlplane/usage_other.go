//go:build !linux

package controlplane

import (
	"errors"
	"fmt"
)

func readUsage(pid int) (Usage, error) {
	return Usage{}, fmt.Errorf("read the usage of process %d: %w", pid, errors.ErrUnsupported)
}

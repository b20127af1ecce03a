//go:build !linux

package disktest

import "errors"

func mountMemory(string, int) error { return errors.ErrUnsupported }

func unmount(string) error { return nil }

func isNoSpace(error) bool { return false }

// Package disktest gives tests a disk that can be full.
package disktest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Disk is a small file system of its own, which can be full.
type Disk struct{ Path string }

// New mounts a file system of so many bytes in memory on a folder that it makes; it goes with the test. It fails where this process may
// not mount: there `unshare --user --map-root-user --mount` before the command helps.
func New(t testing.TB, path string, bytes int) (*Disk, error) {
	if err := os.Mkdir(path, 0o700); err != nil {
		return nil, fmt.Errorf("make a small disk: %w", err)
	}
	if err := mountMemory(path, bytes); err != nil {
		return nil, fmt.Errorf("mount a small disk: %w", err)
	}
	t.Cleanup(func() {
		if err := unmount(path); err != nil {
			t.Errorf("unmount the small disk: %v", err)
		}
	})
	return &Disk{Path: path}, nil
}

func (d *Disk) filler() string { return filepath.Join(d.Path, "filler") }

// Fill leaves not one byte.
func (d *Disk) Fill() error {
	f, err := os.OpenFile(d.filler(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("fill the disk: %w", err)
	}
	defer f.Close()
	for block := make([]byte, 1<<16); len(block) > 0; {
		if n, err := f.Write(block); n == 0 && isNoSpace(err) {
			block = block[:len(block)/2]
		} else if err != nil && !isNoSpace(err) {
			return fmt.Errorf("fill the disk: %w", err)
		}
	}
	return nil
}

// Free takes away what Fill put there.
func (d *Disk) Free() error {
	if err := os.Remove(d.filler()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("free the disk: %w", err)
	}
	return nil
}

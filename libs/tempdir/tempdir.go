// Package tempdir makes temporary folders that outlive no process: those of processes that were killed are removed by the next one that
// makes such a folder.
package tempdir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// lockName is that of the file in a folder that its process holds locked.
const lockName = "lock"

// Dir is a temporary folder. It holds a file named lock beside what its user puts there.
type Dir struct {
	Path   string
	unlock func()
}

// New makes a folder whose name begins with a prefix, and removes abandoned ones of that prefix.
func New(prefix string) (*Dir, error) {
	removeAbandoned(os.TempDir(), prefix)
	path, err := os.MkdirTemp("", prefix)
	if err != nil {
		return nil, fmt.Errorf("make a temporary folder: %w", err)
	}
	d := &Dir{Path: path, unlock: func() {}}
	if err := d.lock(); err != nil {
		return nil, errors.Join(fmt.Errorf("lock a temporary folder: %w", err), os.RemoveAll(path))
	}
	return d, nil
}

// lock gives the lock its name when it is held, so that no other process takes the new folder for an abandoned one. Where nothing can be
// locked it gets none, and the folder is never taken for abandoned.
func (d *Dir) lock() error {
	unnamed := filepath.Join(d.Path, lockName+".new")
	if err := os.WriteFile(unnamed, nil, 0o600); err != nil {
		return err
	}
	unlock, ok := tryLock(unnamed)
	if !ok {
		return nil
	}
	d.unlock = unlock
	return os.Rename(unnamed, filepath.Join(d.Path, lockName))
}

// Remove removes the folder with all that is in it.
func (d *Dir) Remove() error {
	defer d.unlock()
	if err := os.RemoveAll(d.Path); err != nil {
		return fmt.Errorf("remove a temporary folder: %w", err)
	}
	return nil
}

// removeAbandoned removes the folders of processes that were killed. What cannot be removed stays.
func removeAbandoned(parent, prefix string) {
	locks, err := filepath.Glob(filepath.Join(parent, prefix+"*", lockName))
	if err != nil {
		return
	}
	for _, lock := range locks {
		if unlock, ok := tryLock(lock); ok {
			_ = os.RemoveAll(filepath.Dir(lock))
			unlock()
		}
	}
}

package demo

import (
	"fmt"
	"os"
	"path/filepath"
)

const (
	folderPrefix = "sluice-demo-"
	lockName     = "lock"
)

// folder holds data and logs of one demo. Unless it is kept, it has a lock that is held while its process lives.
type folder struct {
	path   string
	keep   bool
	unlock func()
}

// newFolder makes a folder among the temporary ones, and removes those of demos that were killed.
func newFolder(keep bool) (*folder, error) {
	removeAbandoned(os.TempDir())
	path, err := os.MkdirTemp("", folderPrefix)
	if err != nil {
		return nil, fmt.Errorf("make a folder for the demo: %w", err)
	}
	f := &folder{path: path, keep: keep, unlock: func() {}}
	if keep {
		return f, nil
	}
	// The lock gets its name when it is held, so that no other demo takes this folder for an abandoned one.
	unnamed := filepath.Join(path, lockName+".new")
	if err := os.WriteFile(unnamed, nil, 0o600); err != nil {
		return nil, fmt.Errorf("make a folder for the demo: %w", err)
	}
	f.unlock, _ = tryLock(unnamed)
	if err := os.Rename(unnamed, filepath.Join(path, lockName)); err != nil {
		return nil, fmt.Errorf("make a folder for the demo: %w", err)
	}
	return f, nil
}

// sub makes a folder within.
func (f *folder) sub(name string) (string, error) {
	path := filepath.Join(f.path, name)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", fmt.Errorf("make a folder for the demo: %w", err)
	}
	return path, nil
}

// remove removes the folder, unless it is kept.
func (f *folder) remove() error {
	if f.keep {
		return nil
	}
	defer f.unlock()
	if err := os.RemoveAll(f.path); err != nil {
		return fmt.Errorf("remove the demo's folder: %w", err)
	}
	return nil
}

// removeAbandoned removes the folders of demos that were killed. What cannot be removed stays.
func removeAbandoned(parent string) {
	locks, err := filepath.Glob(filepath.Join(parent, folderPrefix+"*", lockName))
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

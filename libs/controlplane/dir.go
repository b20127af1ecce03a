package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const (
	temporaryPrefix = "sluice-controlplane-"
	lockName        = "lock"
)

// makeDir makes the folder of the control plane. A temporary one has a lock
// that is held while its process lives.
func (c *ControlPlane) makeDir() error {
	if c.options.Dir == "" {
		removeAbandoned(os.TempDir())
		return c.makeTemporaryDir()
	}
	dir, err := filepath.Abs(c.options.Dir)
	if err != nil {
		return fmt.Errorf("find folder %s: %w", c.options.Dir, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make a folder for the control plane: %w", err)
	}
	c.dir = dir
	return nil
}

// makeTemporaryDir gives the lock its name only when it is held, so that no
// other process takes the new folder for an abandoned one.
func (c *ControlPlane) makeTemporaryDir() error {
	dir, err := os.MkdirTemp("", temporaryPrefix)
	if err != nil {
		return fmt.Errorf("make a folder for the control plane: %w", err)
	}
	c.dir, c.temporary = dir, true
	if err := c.lockDir(); err != nil {
		return errors.Join(fmt.Errorf("lock the folder of the control plane: %w", err), c.removeDir())
	}
	return nil
}

func (c *ControlPlane) lockDir() error {
	unnamed := c.file(lockName + ".new")
	unlock, err := lockFile(context.Background(), unnamed, nil)
	if err != nil {
		return err
	}
	c.unlockDir = unlock
	return os.Rename(unnamed, c.file(lockName))
}

func (c *ControlPlane) removeDir() error {
	if !c.temporary {
		return nil
	}
	if c.unlockDir != nil {
		defer c.unlockDir()
	}
	if err := os.RemoveAll(c.dir); err != nil {
		return fmt.Errorf("remove the control plane's folder: %w", err)
	}
	return nil
}

// removeAbandoned removes the folders of processes that were killed. Each has
// some hundred megabytes, mostly of etcd. What cannot be removed stays.
func removeAbandoned(parent string) {
	locks, err := filepath.Glob(filepath.Join(parent, temporaryPrefix+"*", lockName))
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

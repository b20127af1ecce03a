package controlplane

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/sluice-cd/sluice/libs/tempdir"
)

// makeDir makes the folder of the control plane.
func (c *ControlPlane) makeDir() error {
	if c.options.Dir == "" {
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

func (c *ControlPlane) makeTemporaryDir() error {
	temporary, err := tempdir.New("sluice-controlplane-")
	if err != nil {
		return fmt.Errorf("make a folder for the control plane: %w", err)
	}
	c.dir, c.temporary = temporary.Path, temporary
	return nil
}

func (c *ControlPlane) removeDir() error {
	if c.temporary == nil {
		return nil
	}
	return c.temporary.Remove()
}

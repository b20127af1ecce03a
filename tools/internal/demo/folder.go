package demo

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/sluice-cd/sluice/libs/tempdir"
)

const folderPrefix = "sluice-demo-"

// folder holds data and logs of one demo.
type folder struct {
	path   string
	remove func() error // unless it is kept
}

// newFolder makes a folder among the temporary ones. Unless it is kept, it goes at the latest with the next demo.
func newFolder(keep bool) (*folder, error) {
	if keep {
		path, err := os.MkdirTemp("", folderPrefix)
		if err != nil {
			return nil, fmt.Errorf("make a folder for the demo: %w", err)
		}
		return &folder{path, func() error { return nil }}, nil
	}
	dir, err := tempdir.New(folderPrefix)
	if err != nil {
		return nil, fmt.Errorf("make a folder for the demo: %w", err)
	}
	return &folder{dir.Path, dir.Remove}, nil
}

// sub makes a folder within.
func (f *folder) sub(name string) (string, error) {
	path := filepath.Join(f.path, name)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", fmt.Errorf("make a folder for the demo: %w", err)
	}
	return path, nil
}

package controlplane

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// EnvCache names the environment variable with the folder that built programs
// are kept in. Without it that is the folder sluice in the user's cache.
const EnvCache = "SLUICE_CACHE"

const programName = "controlplane"

// cachedProgram returns the built program of the source at hand, building it
// when the cache does not have it.
func cachedProgram(ctx context.Context, progress io.Writer) (string, error) {
	src, err := findSource()
	if err != nil {
		return "", err
	}
	root, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, "controlplane", src.key)
	file := filepath.Join(dir, programName)
	if isFile(file) {
		return file, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the cache folder: %w", err)
	}
	if err := buildOnce(ctx, src, file, progress); err != nil {
		return "", err
	}
	return file, nil
}

// buildOnce builds under a lock, so that of many processes one builds and the
// others find the result.
func buildOnce(ctx context.Context, src source, file string, progress io.Writer) error {
	report := newReport(progress)
	unlock, err := lockFile(ctx, filepath.Join(filepath.Dir(file), "lock"), func() {
		report.line("waiting for another process that builds the Kubernetes control plane")
	})
	if err != nil {
		return fmt.Errorf("lock the cache: %w", err)
	}
	defer unlock()
	if isFile(file) {
		return nil
	}
	return build(ctx, src, file, report)
}

func cacheDir() (string, error) {
	if dir := os.Getenv(EnvCache); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the user's cache folder (or set %s): %w", EnvCache, err)
	}
	return filepath.Join(dir, "sluice"), nil
}

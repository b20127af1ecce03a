package gittest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// receiveKey is the setting of git by which a repository takes pushes.
const receiveKey = "http.receivepack"

// Config sets a value of the repository's configuration.
func (r *Repository) Config(ctx context.Context, key, value string) error {
	_, err := r.Git(ctx, nil, "config", key, value)
	return err
}

// ReadOnly makes the repository refuse pushes by either protocol, in the way of
// the large git hosts, or take them again.
func (r *Repository) ReadOnly(ctx context.Context, yes bool) error {
	return r.Config(ctx, receiveKey, fmt.Sprint(!yes))
}

// InstallHook writes a hook of git, as pre-receive, update or post-receive: a shell
// script that may decline a push. What it writes to standard error the client
// gets to see. An empty script removes the hook.
func (r *Repository) InstallHook(name, script string) error {
	path := filepath.Join(r.path, "hooks", name)
	if script == "" {
		return os.Remove(path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("install hook %s: %w", name, err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil { //nolint:gosec // git runs it
		return fmt.Errorf("install hook %s: %w", name, err)
	}
	return nil
}

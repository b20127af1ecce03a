package gittest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Repository is a bare repository of a Server.
type Repository struct {
	path, git string
}

// CreateRepository makes an empty bare repository, below the server's directory,
// that takes pushes and whose HEAD is the branch main.
func (s *Server) CreateRepository(ctx context.Context, name string) (*Repository, error) {
	if !filepath.IsLocal(name) {
		return nil, fmt.Errorf("create repository %q: not a local name", name)
	}
	r := &Repository{path: filepath.Join(s.dir, withGit(name)), git: s.git}
	if err := os.MkdirAll(r.path, 0o755); err != nil {
		return nil, fmt.Errorf("create repository %q: %w", name, err)
	}
	if _, err := r.Git(ctx, nil, "init", "--quiet", "--bare", "--initial-branch=main"); err != nil {
		return nil, fmt.Errorf("create repository %q: %w", name, err)
	}
	if _, err := r.Git(ctx, nil, "config", receiveKey, "true"); err != nil {
		return nil, fmt.Errorf("let repository %q take pushes: %w", name, err)
	}
	return r, nil
}

// Path is the repository's directory.
func (r *Repository) Path() string { return r.path }

// Git runs the git program in the repository and returns its trimmed output.
// Nothing of the user's or the system's configuration takes part.
func (r *Repository) Git(ctx context.Context, stdin []byte, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, r.git, args...)
	cmd.Dir, cmd.Env = r.path, environment()
	cmd.Stdin = bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// environment is all that the git program gets to see of ours.
func environment() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_CONFIG_COUNT=2",
		"GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		"GIT_CONFIG_KEY_1=commit.gpgSign", "GIT_CONFIG_VALUE_1=false",
		"GIT_AUTHOR_NAME=Jane Doe", "GIT_AUTHOR_EMAIL=jane@example.com",
		"GIT_COMMITTER_NAME=Jane Doe", "GIT_COMMITTER_EMAIL=jane@example.com",
	}
}

// Object writes an object of any type with any content, valid or not, and
// returns its hash.
func (r *Repository) Object(ctx context.Context, kind string, content []byte) (string, error) {
	return r.Git(ctx, content, "hash-object", "-t", kind, "-w", "--stdin", "--literally")
}

// Resolve returns the hash that a revision names.
func (r *Repository) Resolve(ctx context.Context, revision string) (string, error) {
	return r.Git(ctx, nil, "rev-parse", "--verify", "--end-of-options", revision)
}

// SetRef points a full ref name, new or not, at an object.
func (r *Repository) SetRef(ctx context.Context, ref, target string) error {
	_, err := r.Git(ctx, nil, "update-ref", ref, target)
	return err
}

// DeleteRef removes a full ref name.
func (r *Repository) DeleteRef(ctx context.Context, ref string) error {
	_, err := r.Git(ctx, nil, "update-ref", "-d", ref)
	return err
}

// Tag makes or moves a lightweight tag.
func (r *Repository) Tag(ctx context.Context, name, target string) error {
	return r.SetRef(ctx, "refs/tags/"+name, target)
}

// AnnotatedTag makes or moves an annotated tag.
func (r *Repository) AnnotatedTag(ctx context.Context, name, target, message string) error {
	_, err := r.Git(ctx, nil, "tag", "--annotate", "--force", "--message", message, name, target)
	return err
}

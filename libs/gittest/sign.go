package gittest

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Sign makes an armored signature of what it is given.
type Sign func(payload []byte) ([]byte, error)

// SignCommit writes a signed copy of a commit and returns its hash. No ref is moved.
func (r *Repository) SignCommit(ctx context.Context, commit string, sign Sign) (string, error) {
	raw, err := r.Raw(ctx, "commit", commit)
	if err != nil {
		return "", err
	}
	signature, err := sign(raw)
	if err != nil {
		return "", fmt.Errorf("sign commit %s: %w", commit, err)
	}
	header, message, _ := bytes.Cut(raw, []byte("\n\n"))
	lines := strings.ReplaceAll(strings.TrimSpace(string(signature)), "\n", "\n ")
	return r.Object(ctx, "commit", fmt.Appendf(nil, "%s\ngpgsig %s\n\n%s", header, lines, message))
}

// SignTag makes or moves a signed annotated tag and returns its hash.
func (r *Repository) SignTag(ctx context.Context, name, commit string, sign Sign) (string, error) {
	payload := fmt.Appendf(nil, "object %s\ntype commit\ntag %s\ntagger Jane Doe <jane@example.com> %d +0000\n\nrelease %s\n", commit, name, time.Now().Unix(), name)
	signature, err := sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign tag %s: %w", name, err)
	}
	hash, err := r.Object(ctx, "tag", append(payload, signature...))
	if err != nil {
		return "", err
	}
	return hash, r.SetRef(ctx, "refs/tags/"+name, hash)
}

// Raw returns an object's content, byte for byte.
func (r *Repository) Raw(ctx context.Context, kind, hash string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, r.git, "cat-file", kind, hash)
	cmd.Dir, cmd.Env = r.path, environment()
	content, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", kind, hash, err)
	}
	return content, nil
}

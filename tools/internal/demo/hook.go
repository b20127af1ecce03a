package demo

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/sluice-cd/sluice/libs/localrun"
)

// host calls Sluice's receiver of webhooks, signed, as git hosts and registries do.
type host struct {
	keys string // directory that the receiver reads the key from
	key  []byte
	url  string // of the receiver, once it runs
}

// newHost makes a key that the host and the receiver share.
func newHost(dir string) (*host, error) {
	h := &host{keys: filepath.Join(dir, "hook-keys"), key: []byte(rand.Text())}
	if err := os.MkdirAll(h.keys, 0o700); err != nil {
		return nil, fmt.Errorf("make a folder for keys: %w", err)
	}
	if err := os.WriteFile(filepath.Join(h.keys, "token"), h.key, 0o600); err != nil {
		return nil, fmt.Errorf("write the key of the git host: %w", err)
	}
	return h, nil
}

// found takes note of where the receiver is, if r is one.
func (h *host) found(r *localrun.Replica) {
	if r.Service == localrun.HookServices[0] {
		h.url = r.HooksURL()
	}
}

// pushed says that a repository was pushed to, in the form of GitHub.
func (h *host) pushed(ctx context.Context, address string) error {
	return h.call(ctx, "github", "X-Hub-Signature-256", map[string]any{
		"ref": "refs/heads/" + branch, "repository": map[string]any{"clone_url": address, "pushed_at": time.Now().UnixMilli()},
	})
}

// imagePushed says that an image was pushed.
func (h *host) imagePushed(ctx context.Context, image string) error {
	return h.call(ctx, "generic-hmac", "X-Signature", map[string]any{"image": image})
}

// call makes one call, which is answered when its hint is durable.
func (h *host) call(ctx context.Context, kind, signature string, what map[string]any) error {
	body, err := json.Marshal(what)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url+"/hook/"+kind, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("call the receiver: %w", err)
	}
	mac := hmac.New(sha256.New, h.key)
	mac.Write(body)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GitHub-Event", "push")
	r.Header.Set("X-GitHub-Delivery", rand.Text())
	r.Header.Set(signature, "sha256="+hex.EncodeToString(mac.Sum(nil)))
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("call the receiver: %w", err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("call the receiver: it answers %s", answer.Status)
	}
	return nil
}

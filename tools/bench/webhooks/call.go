package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// caller makes calls as GitHub does.
type caller struct{ http *http.Client }

func newCaller(connections int) *caller {
	return &caller{&http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConns: connections, MaxIdleConnsPerHost: connections}}}
}

// delivery is one event of a host, which may be sent several times.
type delivery struct {
	id   string
	body []byte
	sign string
	uid  string // of the Receiver that it is for
}

// commits make a body as long as that of an ordinary push, some 7 KB.
var commits = strings.Repeat(`{"id":"0000000000000000000000000000000000000000","tree_id":"f9d2a07e9488b91af2641b26b9407fe22a451433","distinct":true,"message":"a commit like many","timestamp":"2026-01-01T00:00:00Z","url":"https://github.example.org/org/app/commit/0000000000000000000000000000000000000000","author":{"name":"Jane","email":"jane@example.org","username":"jane"},"added":[],"removed":[],"modified":["README.md"]},`, 14)

func newDelivery(uid string) delivery {
	id := rand.Text()
	body := fmt.Appendf(nil, `{"ref":"refs/heads/main","after":%q,"commits":[%s{}],"repository":{"clone_url":"https://github.example.org/org/app.git","pushed_at":%d},"delivery":%q}`,
		strings.Repeat("0", 40), commits, time.Now().UnixNano(), id)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write(body)
	return delivery{id, body, "sha256=" + hex.EncodeToString(mac.Sum(nil)), uid}
}

// key16 is the id under which the delivery stands in a hint.
func (d delivery) key16() string {
	sum := sha256.Sum256([]byte(d.uid + "\x00github\x00delivery\x00" + d.id + "\x00"))
	return string(sum[:16])
}

// call sends a delivery once.
func (c *caller) call(ctx context.Context, t target, d delivery) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(d.body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GitHub-Event", "push")
	r.Header.Set("X-GitHub-Delivery", d.id)
	r.Header.Set("X-Hub-Signature-256", d.sign)
	answer, err := c.http.Do(r)
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, answer.Body.Close()
}

// insist sends a delivery until it is taken, as a host does that comes again.
func (c *caller) insist(ctx context.Context, t target, d delivery) (attempts int, err error) {
	for attempts = 1; ; attempts++ {
		code, err := c.call(ctx, t, d)
		if err == nil && code == http.StatusOK {
			return attempts, nil
		}
		if err == nil && code != http.StatusServiceUnavailable {
			return attempts, fmt.Errorf("answer %d", code)
		}
		select {
		case <-ctx.Done():
			return attempts, ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

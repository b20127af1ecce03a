package demo

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	// channel is where the demo's Alert tells what happens.
	channel = "#deployments"
	// shownMessages is how many messages of the channel are shown at the end.
	shownMessages = 3
	tellTimeout   = 20 * time.Second
)

// slack is a workspace with one channel, and of Slack's Web API the two methods with which a bot writes and edits messages.
type slack struct {
	token   string
	address string
	changed chan struct{} // gets a value after each change, unless one waits there

	mu       sync.Mutex
	messages []*post // oldest first
}

// post is a message as the channel shows it.
type post struct {
	ts      string // names it, as in Slack
	heading string
	lines   []string
	edits   int
}

// startSlack starts the workspace.
func (d *demo) startSlack() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen as Slack: %w", err)
	}
	d.slack = &slack{token: "xoxb-" + rand.Text(), address: "http://" + listener.Addr().String() + "/api/chat.postMessage", changed: make(chan struct{}, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/chat.postMessage", d.slack.serve)
	mux.HandleFunc("POST /api/chat.update", d.slack.serve)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(listener) //nolint:errcheck // it ends with Close
	d.onStop(server.Close)
	return nil
}

// call is what the two methods are told.
type call struct {
	Channel string           `json:"channel"`
	TS      string           `json:"ts"`
	Blocks  []map[string]any `json:"blocks"`
}

func (s *slack) serve(w http.ResponseWriter, r *http.Request) {
	answer := map[string]any{"ok": true, "channel": channel}
	var c call
	switch err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&c); {
	case r.Header.Get("Authorization") != "Bearer "+s.token:
		answer = map[string]any{"ok": false, "error": "invalid_auth"}
	case err != nil:
		answer = map[string]any{"ok": false, "error": "invalid_json"}
	case c.Channel != channel:
		answer = map[string]any{"ok": false, "error": "channel_not_found"}
	default:
		if answer["ts"] = s.take(c); answer["ts"] == "" {
			answer = map[string]any{"ok": false, "error": "message_not_found"}
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// take writes or edits a message and returns its name; empty if there is none to edit.
func (s *slack) take(c call) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	heading, lines := show(c.Blocks)
	if c.TS == "" {
		c.TS = fmt.Sprintf("%d.%06d", time.Now().Unix(), len(s.messages))
		s.messages = append(s.messages, &post{ts: c.TS, heading: heading, lines: lines})
	} else if !s.edit(c.TS, heading, lines) {
		return ""
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return c.TS
}

func (s *slack) edit(ts, heading string, lines []string) bool {
	for _, m := range s.messages {
		if m.ts == ts {
			m.heading, m.lines, m.edits = heading, lines, m.edits+1
			return true
		}
	}
	return false
}

// told says whether a message about a commit says how it ended, with the last messages of the channel.
func (s *slack) told(commit string) (last []post, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.messages {
		ended = ended || strings.HasPrefix(m.heading, "✅") && strings.Contains(strings.Join(m.lines, "\n"), commit)
	}
	for _, m := range s.messages[max(0, len(s.messages)-shownMessages):] {
		last = append(last, *m)
	}
	return last, ended
}

// showChannel waits until the channel knows how the last push ended, and shows its last messages.
func (d *demo) showChannel(ctx context.Context) error {
	timer := time.NewTimer(tellTimeout)
	defer timer.Stop()
	last, ended := d.slack.told(d.tip[:7])
	for !ended {
		select {
		case <-d.slack.changed:
			last, ended = d.slack.told(d.tip[:7])
		case <-timer.C:
			d.showMessages(last)
			return fmt.Errorf("%s was not told within %s how commit %s ended", channel, tellTimeout, d.tip[:7])
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	d.showMessages(last)
	return nil
}

func (d *demo) showMessages(all []post) {
	d.console.line("\n%s", d.console.paint(bold, fmt.Sprintf("The last %d messages in %s, as Slack shows them:", len(all), channel)))
	for _, m := range all {
		d.console.message(m)
	}
}

func (c *console) message(m post) {
	edited := ""
	if m.edits > 0 {
		edited = c.paint(faint, " (edited)")
	}
	c.line("  ┃ %s%s", c.paint(bold, m.heading), edited)
	for _, line := range m.lines {
		c.line("  ┃ %s", line)
	}
	c.line("")
}

// chatResources make Sluice tell the channel of all applications.
func (d *demo) chatResources() []*unstructured.Unstructured {
	const notifications = "notification.toolkit.fluxcd.io/v1beta3"
	return []*unstructured.Unstructured{
		chatResource("v1", "Secret", "stringData", map[string]any{"token": d.slack.token}),
		chatResource(notifications, "Provider", "spec", map[string]any{
			"type": "slack", "address": d.slack.address, "channel": channel, "secretRef": map[string]any{"name": "slack"},
		}),
		chatResource(notifications, "Alert", "spec", map[string]any{
			"providerRef": map[string]any{"name": "slack"}, "eventSeverity": "info",
			"eventSources": []any{map[string]any{"kind": "GitRepository", "name": "*"}, map[string]any{"kind": "Kustomization", "name": "*"}},
		}),
	}
}

func chatResource(version, kind, field string, content map[string]any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": version, "kind": kind, field: content}}
	u.SetNamespace(namespace)
	u.SetName("slack")
	u.SetLabels(map[string]string{partOf: partOfDemo})
	return u
}

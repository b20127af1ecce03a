package provider

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"testing"
	"time"
)

// Checked against the JSON schema of events (github.com/getsentry/sentry-data-schemas, relay/event.schema.json) and develop.sentry.dev:
// envelopes, authentication, transactions, limits of tags.

type sentryBody struct {
	ID          string            `json:"event_id"`
	Type        string            `json:"type"`
	Timestamp   time.Time         `json:"timestamp"`
	Start       *time.Time        `json:"start_timestamp"`
	Platform    string            `json:"platform"`
	Level       string            `json:"level"`
	Server      string            `json:"server_name"`
	Transaction string            `json:"transaction"`
	Environment string            `json:"environment"`
	Fingerprint []string          `json:"fingerprint"`
	Tags        map[string]string `json:"tags"`
	Spans       []any             `json:"spans"`
	Log         *struct {
		Formatted string `json:"formatted"`
	} `json:"logentry"`
	Contexts struct {
		Metadata map[string]string `json:"metadata"`
		Trace    *struct {
			Trace       string `json:"trace_id"`
			Span        string `json:"span_id"`
			Op          string `json:"op"`
			Status      string `json:"status"`
			Description string `json:"description"`
		} `json:"trace"`
	} `json:"contexts"`
}

var (
	eventID  = regexp.MustCompile(`^[0-9a-f]{32}$`)
	spanID   = regexp.MustCompile(`^[0-9a-f]{16}$`)
	tagName  = regexp.MustCompile(`^[a-zA-Z0-9_.:-]{1,200}$`)
	sentryOK = `{"id":"fc6d8c0c43fc4630ad850ee518f1b9d0"}`
)

func (b sentryBody) check(kind string) error {
	err := expect(want("ID", eventID.MatchString(b.ID), true), want("platform", b.Platform, "other"), want("environment", b.Environment, "staging"), atMost("transaction", characters(b.Transaction), 200))
	for name, value := range b.Tags {
		err = expect(err, want("tag "+name, tagName.MatchString(name), true), atMost("tag", characters(value), 200))
	}
	if kind == "event" {
		return expect(err, want("level", b.Level, "error"), want("type", b.Type, ""), atLeast("message", len(b.Log.Formatted), 1), atMost("message", characters(b.Log.Formatted), 8192), want("fingerprint", fmt.Sprint(b.Fingerprint), "["+incident+"]"))
	}
	if b.Contexts.Trace == nil || b.Start == nil {
		return errors.New("no trace")
	}
	return expect(err, want("type", b.Type, "transaction"), want("trace", eventID.MatchString(b.Contexts.Trace.Trace), true), want("span", spanID.MatchString(b.Contexts.Trace.Span), true), want("status", b.Contexts.Trace.Status, "ok"))
}

func checkEnvelope(c call) error {
	lines := bytes.Split(c.body, []byte("\n"))
	if len(lines) != 4 || len(lines[3]) > 0 {
		return fmt.Errorf("%d lines", len(lines))
	}
	var head struct {
		ID   string    `json:"event_id"`
		Sent time.Time `json:"sent_at"`
	}
	var item struct {
		Type    string `json:"type"`
		Length  int    `json:"length"`
		Content string `json:"content_type"`
	}
	var body sentryBody
	err := expect(json.Unmarshal(lines[0], &head), json.Unmarshal(lines[1], &item), call{body: lines[2]}.into(&body))
	return expect(err, want("length", item.Length, len(lines[2])), want("ID", head.ID, body.ID), atMost("item", len(lines[2]), 1<<20), body.check(item.Type))
}

func TestSentry(t *testing.T) {
	check := func(c call) (string, error) {
		return sentryOK, expect(want("method", c.Method, "POST"), want("path", c.URL.Path, "/prefix/api/4242/envelope/"), want("type", c.Header.Get("Content-Type"), "application/x-sentry-envelope"),
			want("auth", c.Header.Get("X-Sentry-Auth"), "Sentry sentry_version=7, sentry_client=sluice/1.0, sentry_key="+secretToken), want("basic", c.Header.Get("Authorization"), ""), checkEnvelope(c))
	}
	kit{settings: settings("sentry", "staging"), user: secretToken, path: "/prefix/4242", check: check, machine: true}.run(t)
	for _, address := range []string{"https://sentry.io/4242", "https://key@sentry.io", "https://key@sentry.io/", "key"} {
		if _, _, err := New(settings("sentry", "", "address", address)); !errors.Is(err, ErrSettings) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// Sentry drops events whose ID it has: what is sent again has the same.
func TestSentryIsIdempotent(t *testing.T) {
	ids := map[string]bool{}
	s := serve(t, func(c call) (string, error) {
		var head struct {
			ID string `json:"event_id"`
		}
		err := json.Unmarshal(bytes.Split(c.body, []byte("\n"))[0], &head)
		ids[head.ID] = true
		return sentryOK, err
	})
	sender, _ := kit{settings: settings("sentry", ""), user: "key", path: "/1"}.sender(t, s.URL)
	for range 2 {
		if _, err := sender.Send(t.Context(), sampleMessage()); err != nil {
			t.Fatal(err)
		}
	}
	if len(ids) != 1 {
		t.Errorf("IDs %v", ids)
	}
}

package provider

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"time"
)

// sentry tells failures as events and the rest as transactions. It writes the envelopes itself: the client library sends in the background
// and does not say what became of it.
type sentry struct {
	*client
	to          *url.URL
	auth        string
	environment string
}

// Limits of events (develop.sentry.dev/sdk/foundations/data-model/event-payloads).
const (
	sentryMessage = 8192 // characters
	sentryTag     = 200  // characters of a name or value
)

func newSentry(s Settings) (Sender, Traits, error) {
	dsn, err := s.address()
	if err != nil {
		return nil, Traits{}, err
	}
	project := path.Base(dsn.Path)
	if dsn.User == nil || dsn.User.Username() == "" || project == "." || project == "/" {
		return nil, Traits{}, fmt.Errorf("%w: the address is no DSN, as in https://key@host/project", ErrSettings)
	}
	to := &url.URL{Scheme: dsn.Scheme, Host: dsn.Host, Path: path.Join(path.Dir(path.Clean(dsn.Path)), "api", project, "envelope") + "/"}
	auth := "Sentry sentry_version=7, sentry_client=sluice/1.0, sentry_key=" + dsn.User.Username()
	if secret, ok := dsn.User.Password(); ok {
		auth += ", sentry_secret=" + secret
	}
	// Sentry has no numbers but quotas, told by 429 and X-Sentry-Rate-Limits.
	return &sentry{newClient(s), to, auth, s.Spec.Channel}, Traits{}, nil
}

func (s *sentry) Send(ctx context.Context, m Message) (Receipt, error) {
	kind, event := "transaction", s.transaction(m)
	if m.failed() {
		kind, event = "event", s.event(m)
	}
	body, err := envelope(kind, event)
	if err != nil {
		return Receipt{}, &Refusal{Reason: "write the event"}
	}
	_, err = s.ask(ctx, query{URL: s.to, Header: http.Header{"X-Sentry-Auth": {s.auth}}, Body: body, Type: "application/x-sentry-envelope"})
	return Receipt{}, err
}

// envelope is a header, an item's header and the item, a line each (develop.sentry.dev/sdk/foundations/envelopes).
func envelope(kind string, event object) ([]byte, error) {
	payload, err := marshal(event)
	if err != nil {
		return nil, err
	}
	head, err := marshal(object{"event_id": event["event_id"], "sent_at": time.Now().UTC().Format(time.RFC3339)})
	if err != nil {
		return nil, err
	}
	item, err := marshal(object{"type": kind, "length": len(payload), "content_type": "application/json"})
	return append(bytes.Join([][]byte{head, item, payload}, []byte("\n")), '\n'), err
}

// ids are made from the Key: an event that comes again has the ID that Sentry knows.
func (m Message) ids() (event, trace, span string) {
	sum := sha256.Sum256([]byte(m.Key))
	id := hex.EncodeToString(sum[:])
	return id[:32], id[16:48], id[48:]
}

// base is what events and transactions have in common.
func (s *sentry) base(m Message) object {
	e := m.Event
	id, _, _ := m.ids()
	event := object{
		"event_id": id, "timestamp": e.Timestamp.UTC().Format(time.RFC3339), "platform": "other", "server_name": exact.line(e.ReportingController, sentryTag),
		"transaction": exact.line(e.InvolvedObject.Kind+": "+e.InvolvedObject.Namespace+"/"+e.InvolvedObject.Name, sentryTag), "tags": sentryTags(m),
	}
	if s.environment != "" {
		event["environment"] = s.environment
	}
	return event
}

func (s *sentry) event(m Message) object {
	event := s.base(m)
	event["level"] = "error"
	event["logentry"] = object{"formatted": m.text(sentryMessage)}
	event["fingerprint"] = []string{m.incident()}
	event["contexts"] = object{"metadata": metadataMap(m.Event)}
	return event
}

func (s *sentry) transaction(m Message) object {
	event := s.base(m)
	_, trace, span := m.ids()
	event["type"] = "transaction"
	event["start_timestamp"] = event["timestamp"]
	event["contexts"] = object{"trace": object{"trace_id": trace, "span_id": span, "op": "event", "status": "ok", "description": m.summary(sentryTag)}}
	event["spans"] = []any{}
	return event
}

var notInTag = regexp.MustCompile(`[^a-zA-Z0-9_.:-]`)

// sentryTags have the names that Flux gives them.
func sentryTags(m Message) map[string]string {
	e := m.Event
	tags := map[string]string{}
	for _, f := range metadataOf(e) {
		tags[notInTag.ReplaceAllString(f.Name, "_")] = exact.fit(f.Value, sentryTag)
	}
	for name, value := range map[string]string{
		"kind": e.InvolvedObject.Kind, "namespace": e.InvolvedObject.Namespace, "name": e.InvolvedObject.Name,
	} {
		tags["flux_involved_object_"+name] = exact.line(value, sentryTag)
	}
	tags["flux_reporting_controller"] = exact.line(e.ReportingController, sentryTag)
	tags["flux_reason"] = exact.line(e.Reason, sentryTag)
	return tags
}

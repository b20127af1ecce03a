package provider

import (
	"errors"
	"strings"
	"testing"
	"time"

	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"
)

// Checked against PagerDuty's OpenAPI document of the Events API v2 (github.com/PagerDuty/api-schema, reference/events-v2), its page on
// change events, 1024 characters of a summary and 512 KB of an event.

type pagerdutyBody struct {
	Key     string `json:"routing_key"`
	Action  string `json:"event_action"`
	Dedup   string `json:"dedup_key"`
	Payload *struct {
		Summary   string `json:"summary"`
		Source    string `json:"source"`
		Severity  string `json:"severity"`
		Timestamp string `json:"timestamp"`
		Component string `json:"component"`
		Group     string `json:"group"`
		Class     string `json:"class"`
		Details   struct {
			Message  string            `json:"message"`
			Metadata map[string]string `json:"metadata"`
		} `json:"custom_details"`
	} `json:"payload"`
	Links []struct {
		Href string `json:"href"`
		Text string `json:"text"`
	} `json:"links"`
}

func (b pagerdutyBody) checkPayload() error {
	if b.Payload == nil {
		return errors.New("no payload")
	}
	_, err := time.Parse(time.RFC3339, b.Payload.Timestamp)
	return expect(err, atLeast("summary", len(b.Payload.Summary), 1), atMost("summary", characters(b.Payload.Summary), 1024), atLeast("source", len(b.Payload.Source), 1))
}

func pagerdutyAPI(c call) (string, error) {
	var body pagerdutyBody
	err := expect(c.into(&body), atMost("event", len(c.body), 512<<10), want("method", c.Method, "POST"), want("key", body.Key, "0123456789abcdef0123456789abcdef"))
	for _, l := range body.Links {
		err = expect(err, want("link", strings.HasPrefix(l.Href, "https://"), true))
	}
	switch c.URL.Path + " " + body.Action {
	case "/v2/enqueue trigger":
		err = expect(err, body.checkPayload(), want("severity", body.Payload.Severity, "error"), want("dedup", body.Dedup, incident))
	case "/v2/enqueue resolve":
		err = expect(err, want("dedup", body.Dedup, incident))
	case "/v2/change/enqueue ":
		err = expect(err, body.checkPayload(), want("dedup", body.Dedup, ""), want("severity", body.Payload.Severity, ""), want("component", body.Payload.Component, ""))
	default:
		err = expect(err, errors.New("request "+c.URL.Path+" "+body.Action))
	}
	return `{"status":"success","message":"Event processed","dedup_key":"x"}`, err
}

func pagerdutyKit() kit {
	return kit{settings: settings("pagerduty", "0123456789abcdef0123456789abcdef"), path: "/integration/x", inSpec: true, check: pagerdutyAPI, machine: true}
}

func TestPagerDuty(t *testing.T) { pagerdutyKit().run(t) }

func TestPagerDutyTellsWhatFits(t *testing.T) {
	info := sampleMessage()
	info.Event.Severity = eventv1.EventSeverityInfo
	resolved, progressing := info, info
	resolved.Resolved = true
	progressing.Event.Reason = "Progressing"
	for name, c := range map[string]struct {
		m    Message
		want string
	}{
		"failure": {sampleMessage(), "/v2/enqueue trigger"}, "info": {info, "/v2/change/enqueue "},
		"resolved": {resolved, "/v2/enqueue resolve,/v2/change/enqueue "}, "progressing": {progressing, ""},
	} {
		s := serve(t, pagerdutyAPI)
		sender, _ := pagerdutyKit().sender(t, s.URL)
		if _, err := sender.Send(t.Context(), c.m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var got []string
		for _, request := range s.taken() {
			var body pagerdutyBody
			if err := request.into(&body); err != nil {
				t.Error(err)
			}
			got = append(got, request.URL.Path+" "+body.Action)
		}
		if strings.Join(got, ",") != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// Event orchestrations refuse change events: a resolved incident is told all the same.
func TestPagerDutyResolvesAtGlobalIntegrations(t *testing.T) {
	s := serve(t, func(c call) (string, error) {
		if strings.HasPrefix(c.URL.Path, "/v2/change") {
			return "", errors.New("not here")
		}
		return pagerdutyAPI(c)
	})
	sender, _ := pagerdutyKit().sender(t, s.URL)
	m := sampleMessage()
	m.Event.Severity, m.Resolved = eventv1.EventSeverityInfo, true
	if _, err := sender.Send(t.Context(), m); err != nil {
		t.Error(err)
	}
	m.Resolved = false
	if _, err := sender.Send(t.Context(), m); err == nil {
		t.Error("a refused change event is lost")
	}
}

package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"testing"
	"time"

	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"
)

// Checked against the OpenAPI document of Alertmanager's API v2 (github.com/prometheus/alertmanager, api/v2/openapi.yaml: postableAlert,
// gettableAlert, filter) and its rules for names of labels.

type postable struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      *time.Time        `json:"endsAt"`
}

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

func (p postable) check() error {
	err := expect(atLeast("labels", len(p.Labels), 1), atLeast("alertname", len(p.Labels["alertname"]), 1))
	for name := range p.Labels {
		if !labelName.MatchString(name) {
			err = expect(err, fmt.Errorf("label %q", name))
		}
	}
	if p.EndsAt != nil && p.EndsAt.Before(p.StartsAt) {
		err = expect(err, errors.New("the end is before the start"))
	}
	return err
}

// manager keeps alerts by their labels, as Alertmanager does.
type manager struct {
	alerts map[string]postable
}

func (a *manager) accept(c call) (string, error) {
	if c.URL.Path != "/api/v2/alerts/" {
		return "", errors.New("path " + c.URL.Path)
	}
	if c.Method == http.MethodGet {
		return a.list(c)
	}
	var posted []postable
	err := expect(c.into(&posted), want("method", c.Method, "POST"), want("authorization", c.Header.Get("Authorization"), "Bearer "+secretToken))
	for _, p := range posted {
		err = expect(err, p.check())
		id, _ := json.Marshal(p.Labels)
		a.alerts[string(id)] = p
	}
	return "", err
}

var matcher = regexp.MustCompile(`^(kind|name|namespace)="(([^"\\]|\\.)*)"$`)

func (a *manager) list(c call) (string, error) {
	found := []map[string]any{}
	filters := c.URL.Query()["filter"]
	if len(filters) != 3 {
		return "", fmt.Errorf("filters %q", filters)
	}
next:
	for _, p := range a.alerts {
		for _, f := range filters {
			m := matcher.FindStringSubmatch(f)
			if m == nil {
				return "", fmt.Errorf("bad matcher %q", f)
			}
			if p.Labels[m[1]] != m[2] {
				continue next
			}
		}
		found = append(found, map[string]any{"labels": p.Labels, "annotations": p.Annotations, "startsAt": p.StartsAt, "endsAt": p.EndsAt, "updatedAt": time.Now(), "fingerprint": "f",
			"receivers": []any{map[string]string{"name": "r"}}, "status": map[string]any{"state": "active", "silencedBy": []string{}, "inhibitedBy": []string{}, "mutedBy": []string{}}})
	}
	data, err := json.Marshal(found)
	return string(data), expect(err, want("authorization", c.Header.Get("Authorization"), "Bearer "+secretToken))
}

func alertmanagerKit(m *manager) kit {
	return kit{settings: settings("alertmanager", "", "token", secretToken), path: "/api/v2/alerts/", inSpec: true, check: m.accept, machine: true}
}

func TestAlertmanager(t *testing.T) { alertmanagerKit(&manager{map[string]postable{}}).run(t) }

func TestAlertmanagerEndsWhatItBegan(t *testing.T) {
	m := &manager{map[string]postable{}}
	sender, _ := alertmanagerKit(m).sender(t, serve(t, m.accept).URL)
	failure, other, end := sampleMessage(), sampleMessage(), sampleMessage()
	other.Incident, other.Event.Metadata = "0ther", map[string]string{"env": "dev"}
	end.Resolved, end.Event.Severity, end.Event.Reason = true, eventv1.EventSeverityInfo, "ReconciliationSucceeded"
	end.Event.Metadata = map[string]string{"revision": "main@sha1:another"}
	for _, message := range []Message{failure, other, end} {
		if _, err := sender.Send(t.Context(), message); err != nil {
			t.Fatal(err)
		}
	}
	if len(m.alerts) != 2 {
		t.Fatalf("%d alerts", len(m.alerts))
	}
	for _, a := range m.alerts {
		over := a.EndsAt != nil && a.EndsAt.Before(time.Now().Add(time.Minute))
		if over != (a.Labels["env"] == "prod") {
			t.Errorf("%v ends at %v", a.Labels, a.EndsAt)
		}
	}
}

func TestAlertmanagerLabels(t *testing.T) {
	a := alertOf(sampleMessage())
	wanted := map[string]string{"alertname": "FluxKustomizationHealthcheckfailed", "severity": "error", "reason": "HealthCheckFailed", "kind": "Kustomization", "name": "web", "namespace": "apps",
		"reportingcontroller": "kustomize-controller", "revision": "main@sha1:731f7eaddfb6af01cb2173e18f0f75b0ba780ef1", "env": "prod"}
	if !maps.Equal(a.Labels, wanted) || a.Annotations["summary"] != "shop in production" || a.Annotations["message"] != "Deployment/apps/web is not ready" {
		t.Errorf("%v %v", a.Labels, a.Annotations)
	}
	if a.EndsAt == nil || a.EndsAt.Sub(a.StartsAt) != alertLasts {
		t.Errorf("%v to %v", a.StartsAt, a.EndsAt)
	}
}

func TestAlertmanagerBasicAuthentication(t *testing.T) {
	s := serve(t, func(c call) (string, error) {
		user, password, _ := c.BasicAuth()
		return "", expect(want("user", user, "u"), want("password", password, secretPassword))
	})
	sender, _ := kit{settings: settings("alertmanager", "", "username", "u", "password", secretPassword), inSpec: true}.sender(t, s.URL)
	if _, err := sender.Send(t.Context(), sampleMessage()); err != nil {
		t.Error(err)
	}
}

package provider

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Checked against Datadog's OpenAPI document (github.com/DataDog/datadog-api-client-go, .generator/schemas/v1/openapi.yaml,
// EventCreateRequest): 4000 characters of text, 100 of the aggregation key, 18 hours back, kinds of alerts.

func datadogAPI(c call) (string, error) {
	var body struct {
		Title  string   `json:"title"`
		Text   string   `json:"text"`
		Kind   string   `json:"alert_type"`
		Source string   `json:"source_type_name"`
		Tags   []string `json:"tags"`
		At     int64    `json:"date_happened"`
		Key    string   `json:"aggregation_key"`
	}
	err := expect(c.into(&body), want("method", c.Method, "POST"), want("path", c.URL.Path, "/api/v1/events"), want("key", c.Header.Get("DD-API-KEY"), secretToken),
		atLeast("title", len(body.Title), 1), atMost("title", characters(body.Title), 100), atLeast("text", len(body.Text), 1), atMost("text", characters(body.Text), 4000), atMost("aggregation key", len(body.Key), 100), want("group", body.Key, incident),
		want("kind", slices.Contains([]string{"error", "warning", "info", "success"}, body.Kind), true), want("too old", time.Since(time.Unix(body.At, 0)) > 18*time.Hour, false))
	for _, tag := range body.Tags {
		err = expect(err, atMost("tag", characters(tag), 200), want("lower case", tag, strings.ToLower(tag)))
	}
	for _, bad := range []string{"@everyone", "@all", "%%%"} { // people are called, and Markdown begins
		err = expect(err, want(bad, strings.Contains(body.Text, bad), false))
	}
	return `{"status":"ok","event":{"id":1}}`, err
}

func TestDatadog(t *testing.T) {
	k := kit{settings: settings("datadog", "", "token", secretToken), path: "/ignored", inSpec: true, check: datadogAPI, machine: true}
	k.run(t)
	sender, _ := k.sender(t, serve(t, datadogAPI).URL)
	old := sampleMessage()
	old.Event.Timestamp = metav1.NewTime(time.Now().Add(-23 * time.Hour))
	if _, err := sender.Send(t.Context(), old); err != nil {
		t.Error(err)
	}
	s := settings("datadog", "")
	s.Spec.Address = "https://api.datadoghq.com"
	if _, _, err := New(s); !errors.Is(err, ErrSettings) {
		t.Error(err)
	}
}

func TestDatadogSaysWhatKind(t *testing.T) {
	m := sampleMessage()
	if kind := datadogEvent(m, time.Now())["alert_type"]; kind != "error" {
		t.Error(kind)
	}
	m.Event.Severity = "info"
	if kind := datadogEvent(m, time.Now())["alert_type"]; kind != "info" {
		t.Error(kind)
	}
	m.Resolved = true
	if kind := datadogEvent(m, time.Now())["alert_type"]; kind != "success" {
		t.Error(kind)
	}
	if tags := datadogEvent(m, time.Now())["tags"].([]string); !slices.Contains(tags, "kube_kind:kustomization") || !slices.Contains(tags, "env:prod") {
		t.Error(tags)
	}
}

package provider

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"testing"

	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// otelCheck is OTLP over HTTP, and what the schema of traces asks for.
func otelCheck(c call) (string, error) {
	in, err := exported(c)
	if err != nil {
		return "", err
	}
	spans := in.ResourceSpans[0].ScopeSpans[0].Spans
	attributes := map[string]string{}
	for _, a := range in.ResourceSpans[0].Resource.Attributes {
		attributes[a.Key] = a.Value.GetStringValue()
	}
	s := spans[0]
	return "", expect(want("method", c.Method, "POST"), want("path", c.URL.Path, "/v1/traces"), want("type", c.Header.Get("Content-Type"), "application/x-protobuf"),
		want("authorization", c.Header.Get("Authorization"), "Basic "+base64.StdEncoding.EncodeToString([]byte("me:"+secretPassword))),
		want("spans", len(spans), 1), want("trace id", len(s.TraceId), 16), want("span id", len(s.SpanId), 8), want("zero", bytes.Equal(s.SpanId, make([]byte, 8)), false),
		want("service", attributes["service.name"], "flux-system/all"), want("instance", attributes["service.instance.id"], "5d6f0d34-6ed8-4a4c-a6a6-0f0f0f0f0f0f"),
		atLeast("name", len(s.Name), 1), want("time", s.EndTimeUnixNano >= s.StartTimeUnixNano && s.StartTimeUnixNano > 0, true))
}

func exported(c call) (*collectorv1.ExportTraceServiceRequest, error) {
	var in collectorv1.ExportTraceServiceRequest
	if err := proto.Unmarshal(c.body, &in); err != nil {
		return nil, err
	}
	if len(in.ResourceSpans) != 1 || len(in.ResourceSpans[0].ScopeSpans) != 1 {
		return nil, fmt.Errorf("%d resources", len(in.ResourceSpans))
	}
	return &in, nil
}

func TestOTEL(t *testing.T) {
	k := kit{settings: settings(notifyv1.OTELProvider, "", "username", "me", "password", secretPassword), machine: true, check: otelCheck}
	t.Run("hostile", k.hostile)
	t.Run("busy", k.busy)
	t.Run("failures", k.failures)
	t.Run("unreachable", k.unreachable)
	t.Run("elsewhere", k.elsewhere)
	t.Run("private", k.private)
	sender, traits := k.sender(t, serve(t, k.check).URL)
	if _, err := sender.Send(t.Context(), sampleMessage()); err != nil || traits != (Traits{}) {
		t.Errorf("%v %+v", err, traits)
	}
}

func TestOTELHeaders(t *testing.T) {
	for name, test := range map[string]struct{ secret, want []string }{
		"token":              {[]string{"token", secretToken}, []string{"Authorization", "Bearer " + secretToken}},
		"password as token":  {[]string{"password", secretPassword}, []string{"Authorization", "Bearer " + secretPassword}},
		"headers come first": {[]string{"headers", "authorization: Api-Key abc\nX-Scope-OrgID: me", "token", secretToken}, []string{"Authorization", "Api-Key abc", "X-Scope-Orgid", "me"}},
		"headers and token":  {[]string{"headers", "X-Scope-OrgID: me", "token", secretToken}, []string{"Authorization", "Bearer " + secretToken, "X-Scope-Orgid", "me"}},
		"nothing":            {nil, []string{"Authorization", ""}},
	} {
		service := serve(t, func(call) (string, error) { return "", nil })
		sender, _ := kit{settings: settings(notifyv1.OTELProvider, "", test.secret...), path: "/own/path"}.sender(t, service.URL)
		if _, err := sender.Send(t.Context(), sampleMessage()); err != nil {
			t.Fatal(err)
		}
		c := service.last(t)
		for i := 0; i < len(test.want); i += 2 {
			if got := c.Header.Get(test.want[i]); got != test.want[i+1] || c.URL.Path != "/own/path" {
				t.Errorf("%s: %s is %q, path %s", name, test.want[i], got, c.URL.Path)
			}
		}
	}
}

// One trace for a revision and Alert: its source is the root, all else is below, and what is sent again is the same span.
func TestOTELTrace(t *testing.T) {
	service := serve(t, func(call) (string, error) { return "", nil })
	sender, _ := kit{settings: settings(notifyv1.OTELProvider, "")}.sender(t, service.URL)
	span := func(change func(*Message)) *tracev1.Span {
		t.Helper()
		m := sampleMessage()
		m.Event.Metadata = map[string]string{"revision": "main@sha1:" + commit, "env": "prod"}
		change(&m)
		before := len(service.taken())
		if _, err := sender.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if len(service.taken()) == before {
			return nil
		}
		in, err := exported(service.last(t))
		if err != nil {
			t.Fatal(err)
		}
		return in.ResourceSpans[0].ScopeSpans[0].Spans[0]
	}
	source := span(func(m *Message) {
		m.Event.InvolvedObject.Kind, m.Event.Severity = "GitRepository", eventv1.EventSeverityInfo
	})
	failed := span(func(*Message) {})
	again := span(func(*Message) {})
	later := span(func(m *Message) { m.Key, m.Event.Severity = "other", eventv1.EventSeverityInfo })
	trouble := span(func(m *Message) { m.Event.InvolvedObject.Kind, m.Key = "GitRepository", "trouble" })
	other := span(func(m *Message) { m.Event.Metadata["revision"] = "main@sha1:0000" })
	elsewhere := span(func(m *Message) { m.Alert.UID = "another" })
	if hex.EncodeToString(source.TraceId) != hex.EncodeToString(failed.TraceId) || len(source.ParentSpanId) != 0 || !bytes.Equal(failed.ParentSpanId, source.SpanId) ||
		!bytes.Equal(later.ParentSpanId, source.SpanId) || !bytes.Equal(trouble.ParentSpanId, source.SpanId) {
		t.Errorf("%v\n%v\n%v", source, failed, later)
	}
	if !proto.Equal(failed, again) || bytes.Equal(failed.SpanId, later.SpanId) || bytes.Equal(source.SpanId, trouble.SpanId) {
		t.Errorf("%v\n%v\n%v", failed, again, later)
	}
	if bytes.Equal(other.TraceId, failed.TraceId) || bytes.Equal(elsewhere.TraceId, failed.TraceId) {
		t.Error("two revisions or Alerts are one trace")
	}
	if failed.Status.Code != tracev1.Status_STATUS_CODE_ERROR || later.Status.Code != tracev1.Status_STATUS_CODE_OK || failed.Name != "Kustomization: apps/web" {
		t.Errorf("%v %v %s", failed.Status, later.Status, failed.Name)
	}
	found := map[string]string{}
	for _, a := range failed.Attributes {
		found[a.Key] = a.Value.GetStringValue()
	}
	if found["object.kind"] != "Kustomization" || found["object.uid"] != "7d0cdc51" || found["env"] != "prod" || found["revision"] != "main@sha1:"+commit {
		t.Error(found)
	}
	if span(func(m *Message) { m.Event.InvolvedObject.Kind = "HelmRepository" }) != nil {
		t.Error("a HelmRepository is told")
	}
	image := func(kind, name, value string) func(*Message) {
		return func(m *Message) {
			m.Event.InvolvedObject.Kind = kind
			m.Event.Metadata = map[string]string{"app-version": "1.2", "oci-digest": "sha256:1", name: value}
		}
	}
	if !bytes.Equal(span(image("HelmRelease", "revision", "a")).TraceId, span(image("OCIRepository", "revision", "b")).TraceId) {
		t.Error("what follows from an image is another trace")
	}
}

func TestOTELPartial(t *testing.T) {
	answer, err := proto.Marshal(&collectorv1.ExportTraceServiceResponse{PartialSuccess: &collectorv1.ExportTracePartialSuccess{RejectedSpans: 1, ErrorMessage: "too old, " + secretToken}})
	if err != nil {
		t.Fatal(err)
	}
	k := kit{settings: settings(notifyv1.OTELProvider, "", "token", secretToken)}
	sender, _ := k.sender(t, serve(t, func(call) (string, error) { return string(answer), nil }).URL)
	_, err = sender.Send(t.Context(), sampleMessage())
	if !isRefusal(err) {
		t.Error(err)
	}
	k.checkSecrets(t, err)
}

package provider

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	resourcev1 "go.opentelemetry.io/proto/otlp/resource/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-cd/sluice/libs/version"
)

// newOTEL sends each event as a span by OTLP over HTTP. The SDK's exporter is not used: its spans have ids by chance and end when they
// are sent, so that what is sent again is told twice, and its answers say nothing about when to come back.
func newOTEL(s Settings) (Sender, Traits, error) {
	u, err := s.address()
	if err != nil {
		return nil, Traits{}, err
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	header, err := otelHeader(s)
	return otel{client: newClient(s), url: u, header: header, provider: Alert{Namespace: s.Namespace, Name: s.Name, UID: s.UID}}, Traits{}, err
}

// otelHeader is the Secret's headers, and Authorization by username and password or by a token where they have none.
func otelHeader(s Settings) (http.Header, error) {
	header, err := s.httpHeader()
	if err != nil || header.Get("Authorization") != "" {
		return header, err
	}
	user, token := s.username(), s.secret("token")
	if token == "" {
		token = s.secret("password")
	}
	switch {
	case token == "":
		return header, nil
	case user == "":
		header.Set("Authorization", "Bearer "+token)
	default:
		header.Set("Authorization", basic(user, token))
	}
	return header, sendable(user, token)
}

type otel struct {
	client   *client
	url      *url.URL
	header   http.Header
	provider Alert // stands for an Alert that is not known
}

// Send sends a span. HelmRepositories begin nothing that is worth following.
func (o otel) Send(ctx context.Context, m Message) (Receipt, error) {
	if m.Event.InvolvedObject.Kind == "HelmRepository" {
		return Receipt{}, nil
	}
	body, err := proto.Marshal(&collectorv1.ExportTraceServiceRequest{ResourceSpans: []*tracev1.ResourceSpans{o.spans(m)}})
	if err != nil {
		return Receipt{}, fmt.Errorf("write the span: %w", err)
	}
	a, err := o.client.ask(ctx, query{URL: o.url, Header: o.header, Body: body, Type: "application/x-protobuf"})
	if err != nil {
		return Receipt{}, err
	}
	var said collectorv1.ExportTraceServiceResponse
	if err := proto.Unmarshal(a.Body, &said); err == nil && said.GetPartialSuccess().GetRejectedSpans() > 0 {
		return Receipt{}, &Refusal{Reason: "the collector rejects the span: " + o.client.hidden.clean(said.GetPartialSuccess().GetErrorMessage())}
	}
	return Receipt{}, nil
}

func (o otel) spans(m Message) *tracev1.ResourceSpans {
	alert := m.Alert
	if alert.UID == "" {
		alert = o.provider
	}
	return &tracev1.ResourceSpans{
		Resource: &resourcev1.Resource{Attributes: []*commonv1.KeyValue{
			attribute("service.name", alert.Namespace+"/"+alert.Name), attribute("service.namespace", alert.Namespace), attribute("service.instance.id", alert.UID),
		}},
		ScopeSpans: []*tracev1.ScopeSpans{{
			Scope: &commonv1.InstrumentationScope{Name: "sluice:notifier", Version: version.Version},
			Spans: []*tracev1.Span{spanOf(m, alert)},
		}},
	}
}

// spanOf is one event. All of one revision and Alert are one trace; what became of a source begins it, and all else is below. Ids are
// made from what they name, so that a span that is sent again is the same span.
func spanOf(m Message, alert Alert) *tracev1.Span {
	e := m.Event
	trace := sha256.Sum256([]byte(alert.UID + ":" + revisionOf(e)))
	root := sha256.Sum256(append(trace[:], "root"...))
	id, parent := sha256.Sum256(append(trace[:], m.Key...)), root[:8]
	if isSource(e.InvolvedObject.Kind) && e.Severity != eventv1.EventSeverityError {
		id, parent = root, nil
	}
	at := uint64(max(e.Timestamp.UnixNano(), 0)) //nolint:gosec // not negative
	span := &tracev1.Span{
		TraceId: trace[:16], SpanId: id[:8], ParentSpanId: parent, Kind: tracev1.Span_SPAN_KIND_INTERNAL, Flags: 1,
		Name:              strings.ToValidUTF8(fmt.Sprintf("%s: %s/%s", e.InvolvedObject.Kind, e.InvolvedObject.Namespace, e.InvolvedObject.Name), ""),
		StartTimeUnixNano: at, EndTimeUnixNano: at, Attributes: spanAttributes(e), Status: &tracev1.Status{Code: tracev1.Status_STATUS_CODE_OK},
	}
	if e.Severity == eventv1.EventSeverityError {
		span.Status = &tracev1.Status{Code: tracev1.Status_STATUS_CODE_ERROR, Message: strings.ToValidUTF8(e.Message, "")}
	}
	return span
}

func spanAttributes(e eventv1.Event) []*commonv1.KeyValue {
	about := e.InvolvedObject
	found := []*commonv1.KeyValue{
		attribute("object.uid", string(about.UID)), attribute("object.kind", about.Kind), attribute("object.name", about.Name), attribute("object.namespace", about.Namespace),
		attribute("event.reason", e.Reason), attribute("event.message", e.Message),
	}
	for _, f := range metadataFields(e) {
		found = append(found, attribute(f.Name, f.Value))
	}
	return found
}

func attribute(key, value string) *commonv1.KeyValue {
	value = strings.ToValidUTF8(value, "")
	return &commonv1.KeyValue{Key: strings.ToValidUTF8(key, ""), Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_StringValue{StringValue: value}}}
}

// revisionOf is what a trace is about. Of an image of Helm it is the same for all that follow from it.
func revisionOf(e eventv1.Event) string {
	app, digest := e.Metadata["app-version"], e.Metadata["oci-digest"]
	if app != "" && digest != "" {
		return app + "@" + digest
	}
	if found := metadata(e, eventv1.MetaRevisionKey); found != "" {
		return found
	}
	return "unknown"
}

func isSource(kind string) bool {
	return slices.Contains([]string{"GitRepository", "HelmChart", "OCIRepository", "Bucket", "ExternalArtifact"}, kind)
}

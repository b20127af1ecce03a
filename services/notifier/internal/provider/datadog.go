package provider

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// datadog posts to Datadog's stream of events.
type datadog struct {
	*client
	to    *url.URL
	token string
}

// Limits of events (docs.datadoghq.com/api/latest/events/#post-an-event).
const (
	datadogText  = 4000 // characters
	datadogTitle = 100
	datadogTag   = 200
	datadogPast  = 17 * time.Hour // what is older than 18 hours is refused
)

func newDatadog(s Settings) (Sender, Traits, error) {
	to, err := s.address()
	if err != nil {
		return nil, Traits{}, err
	}
	token, err := s.needToken()
	// docs.datadoghq.com/api/latest/rate-limits: posting events is limited by contract, told by 429.
	return &datadog{newClient(s), &url.URL{Scheme: to.Scheme, Host: to.Host, Path: "/api/v1/events"}, token}, Traits{}, err
}

func (d *datadog) Send(ctx context.Context, m Message) (Receipt, error) {
	_, err := d.ask(ctx, query{URL: d.to, Header: http.Header{"Dd-Api-Key": {d.token}}, JSON: datadogEvent(m, time.Now())})
	return Receipt{}, err
}

func datadogEvent(m Message, now time.Time) object {
	e, kind, at := m.Event, "info", m.Event.Timestamp.Time
	switch {
	case m.Resolved:
		kind = "success"
	case m.failed():
		kind = "error"
	}
	if oldest := now.Add(-datadogPast); at.Before(oldest) {
		at = oldest
	}
	o := e.InvolvedObject
	return object{
		"title": exact.line("Events from the "+o.Kind+" "+o.Name+"/"+o.Namespace, datadogTitle), "alert_type": kind, "source_type_name": "fluxcd",
		"text": strings.NewReplacer("%%%", "%%\u200b%", "@", "@\u200b").Replace(m.text(datadogText / 2)), // Markdown begins, people are called
		"tags": datadogTags(m), "date_happened": at.Unix(), "aggregation_key": m.incident(),
	}
}

// datadogTags have the names that Flux gives them, in lower case as Datadog keeps them.
func datadogTags(m Message) []string {
	e := m.Event
	fields := []Field{
		{"flux_reporting_controller", e.ReportingController}, {"flux_reason", e.Reason},
		{"kube_kind", e.InvolvedObject.Kind}, {"kube_name", e.InvolvedObject.Name}, {"kube_namespace", e.InvolvedObject.Namespace},
	}
	tags := []string{}
	for _, f := range append(fields, metadataOf(e)...) {
		tags = append(tags, exact.line(strings.ToLower(f.Name+":"+f.Value), datadogTag))
	}
	return tags
}

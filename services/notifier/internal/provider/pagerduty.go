package provider

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
)

// pagerduty triggers and resolves incidents of PagerDuty by its Events API v2, and tells what went well as change events.
type pagerduty struct {
	*client
	to  *url.URL
	key string
}

const pagerdutySummary = 1024 // characters of a summary

func newPagerDuty(s Settings) (Sender, Traits, error) {
	to, err := s.address()
	if err != nil {
		return nil, Traits{}, err
	}
	key, err := s.needChannel("the integration key")
	// developer.pagerduty.com/docs/events-api-v2-overview: limits change with the load, and are told by 429.
	return &pagerduty{newClient(s, key), to, key}, Traits{}, err
}

func (p *pagerduty) Send(ctx context.Context, m Message) (Receipt, error) {
	if m.Event.HasReason(meta.ProgressingReason) {
		return Receipt{}, nil // neither a failure nor its end
	}
	if m.failed() {
		return Receipt{}, p.enqueue(ctx, "/v2/enqueue", p.trigger(m))
	}
	if m.Resolved {
		if err := p.enqueue(ctx, "/v2/enqueue", object{"routing_key": p.key, "event_action": "resolve", "dedup_key": m.incident()}); err != nil {
			return Receipt{}, err
		}
	}
	err := p.enqueue(ctx, "/v2/change/enqueue", p.change(m))
	if _, refused := errors.AsType[*Refusal](err); refused && m.Resolved {
		return Receipt{}, nil // integrations of event orchestrations take no change events; the incident is resolved
	}
	return Receipt{}, err
}

func (p *pagerduty) enqueue(ctx context.Context, path string, body object) error {
	_, err := p.ask(ctx, query{URL: &url.URL{Scheme: p.to.Scheme, Host: p.to.Host, Path: path}, JSON: body})
	return err
}

func (p *pagerduty) trigger(m Message) object {
	payload := p.payload(m)
	payload["severity"] = "error"
	for name, value := range map[string]string{"component": m.Event.InvolvedObject.Name, "group": m.Event.InvolvedObject.Kind, "class": m.Event.Reason} {
		payload[name] = exact.line(value, maxObject)
	}
	return p.withLinks(m, object{"routing_key": p.key, "event_action": "trigger", "dedup_key": m.incident(), "payload": payload})
}

func (p *pagerduty) change(m Message) object {
	return p.withLinks(m, object{"routing_key": p.key, "payload": p.payload(m)})
}

func (p *pagerduty) payload(m Message) object {
	return object{
		"summary": m.summary(pagerdutySummary), "source": "Flux " + exact.line(m.Event.ReportingController, maxName),
		"timestamp":      m.Event.Timestamp.UTC().Format(time.RFC3339),
		"custom_details": object{"message": m.text(maxEventText), "metadata": metadataMap(m.Event)},
	}
}

func (p *pagerduty) withLinks(m Message, event object) object {
	var links []any
	for _, l := range m.Content.links() {
		links = append(links, object{"href": l.URL, "text": exact.fit(l.Text, maxName)})
	}
	if len(links) > 0 {
		event["links"] = links
	}
	return event
}

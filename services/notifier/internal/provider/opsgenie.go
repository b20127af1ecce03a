package provider

import (
	"context"
	"net/http"
	"net/url"
)

// opsgenie creates alerts of Opsgenie, and closes them when what they told of is over.
type opsgenie struct {
	*client
	to    *url.URL
	token string
}

// Limits of alerts in characters (docs.opsgenie.com/docs/alert-api#create-alert).
const (
	opsgenieMessage     = 130
	opsgenieDescription = 15_000
	opsgenieDetails     = 8000 // of all names and values
	opsgenieSource      = 100
)

func newOpsgenie(s Settings) (Sender, Traits, error) {
	to, err := s.address()
	if err != nil {
		return nil, Traits{}, err
	}
	token, err := s.needToken()
	// docs.opsgenie.com/docs/api-rate-limiting: by plan and number of users, told by 429.
	return &opsgenie{newClient(s), to, token}, Traits{Parallel: manyAtOnce}, err
}

func (o *opsgenie) Send(ctx context.Context, m Message) (Receipt, error) {
	q := query{URL: o.to, Header: http.Header{"Authorization": {"GenieKey " + o.token}}, JSON: opsgenieAlert(m)}
	if m.Resolved {
		q.URL = o.to.JoinPath(url.PathEscape(m.incident()), "close")
		q.URL.RawQuery = "identifierType=alias"
		q.JSON = object{"source": exact.line(m.Event.ReportingController, opsgenieSource), "note": m.text(maxEventText)}
	}
	_, err := o.ask(ctx, q) // what it answers is only that it will look
	return Receipt{}, err
}

func opsgenieAlert(m Message) object {
	alert := object{
		"message": exact.line(m.Event.InvolvedObject.Kind+"/"+m.Event.InvolvedObject.Name, opsgenieMessage), "alias": m.incident(),
		"description": m.text(opsgenieDescription), "details": opsgenieMap(m), "source": exact.line(m.Event.ReportingController, opsgenieSource),
	}
	if !m.failed() {
		alert["alias"] = m.Key // each alone: there is nothing to close
	}
	return alert
}

func opsgenieMap(m Message) map[string]string {
	details := map[string]string{"severity": m.Event.Severity}
	left := opsgenieDetails - len("severity") - len(m.Event.Severity)
	for _, f := range metadataOf(m.Event) {
		if left -= characters(f.Name + f.Value); left < 0 {
			break
		}
		details[f.Name] = f.Value
	}
	return details
}

package provider

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// alertmanager posts alerts to a Prometheus Alertmanager with the labels that Flux documents, and ends them when what they told of is over.
type alertmanager struct {
	*client
	to     *url.URL
	header http.Header
}

const (
	// alertLasts is how long an alert of a failure fires if nobody ends it. Failures are told once: the server's own timeout, of minutes,
	// would end the alert while the failure lasts.
	alertLasts = 24 * time.Hour
	// incidentNote is the annotation by which the alerts of an incident are found again.
	incidentNote = "incident"
)

func newAlertmanager(s Settings) (Sender, Traits, error) {
	to, err := s.address()
	if err != nil {
		return nil, Traits{}, err
	}
	a := &alertmanager{client: newClient(s), to: to, header: http.Header{}}
	if token := s.secret("token"); token != "" {
		a.header = bearer(token)
	}
	if password := s.secret("password"); s.username() != "" && password != "" {
		a.header.Set("Authorization", basic(s.username(), password))
	}
	return a, Traits{Parallel: manyAtOnce}, nil
}

// alert is one of the Alertmanager's API v2.
type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations,omitempty"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      *time.Time        `json:"endsAt,omitempty"`
}

func (a *alertmanager) Send(ctx context.Context, m Message) (Receipt, error) {
	alerts := []alert{alertOf(m)}
	if m.Resolved {
		var err error
		if alerts, err = a.ended(ctx, m); err != nil || len(alerts) == 0 {
			return Receipt{}, err
		}
	}
	_, err := a.ask(ctx, query{URL: a.to, Header: a.header, JSON: alerts})
	return Receipt{}, err
}

// ended are the alerts of m's incident that fire, with their end. Their labels are those of the failure, which m does not know.
func (a *alertmanager) ended(ctx context.Context, m Message) ([]alert, error) {
	to, asked := *a.to, a.to.Query()
	object := m.Event.InvolvedObject
	for name, value := range map[string]string{"kind": object.Kind, "name": object.Name, "namespace": object.Namespace} {
		asked.Add("filter", name+`="`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(exact.line(value, maxMetadataValue))+`"`)
	}
	to.RawQuery = asked.Encode()
	var found []alert
	if _, err := a.read(ctx, query{Method: http.MethodGet, URL: &to, Header: a.header}, &found); err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	var over []alert
	for _, f := range found {
		if f.Annotations[incidentNote] == m.incident() {
			f.EndsAt = &now
			over = append(over, f)
		}
	}
	return over, nil
}

// notInLabel are characters that names of labels have not in versions of Alertmanager before 0.27, and in many settings after.
var notInLabel = regexp.MustCompile(`[^a-zA-Z0-9_]|^[0-9]`)

func alertOf(m Message) alert {
	e := m.Event
	made := alert{Labels: map[string]string{}, Annotations: map[string]string{"message": m.text(maxEventText), incidentNote: m.incident()}, StartsAt: e.Timestamp.UTC()}
	for _, f := range metadataOf(e) {
		if f.Name == "summary" {
			made.Annotations["summary"] = f.Value
			continue
		}
		made.Labels[notInLabel.ReplaceAllString(f.Name[strings.LastIndex(f.Name, "/")+1:], "_")] = f.Value
	}
	delete(made.Labels, "")
	for name, value := range map[string]string{
		"alertname": "Flux" + e.InvolvedObject.Kind + titled(e.Reason), "severity": e.Severity, "reason": e.Reason, "kind": e.InvolvedObject.Kind,
		"name": e.InvolvedObject.Name, "namespace": e.InvolvedObject.Namespace, "reportingcontroller": e.ReportingController,
	} {
		made.Labels[name] = exact.line(value, maxMetadataValue)
	}
	if m.failed() {
		end := e.Timestamp.UTC().Add(alertLasts)
		made.EndsAt = &end
	}
	return made
}

// titled is a word in the case that Flux gives reasons in names of alerts: Healthcheckfailed.
func titled(word string) string {
	r, n := utf8.DecodeRuneInString(word)
	if n == 0 {
		return ""
	}
	return string(unicode.ToUpper(r)) + strings.ToLower(word[n:])
}

package provider

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// grafana makes annotations, which dashboards show by their tags.
type grafana struct {
	*client
	to     *url.URL
	header http.Header
}

// Limits of annotations: of tags in Grafana's tables, and of all of them by its setting annotations.tags_length.
const (
	grafanaTag  = 100 // characters of a name or value
	grafanaTags = 500 // bytes of all as JSON
	grafanaText = 2000
)

func newGrafana(s Settings) (Sender, Traits, error) {
	to, err := s.address()
	if err != nil {
		return nil, Traits{}, err
	}
	g := &grafana{newClient(s), to, http.Header{}}
	token, password := s.secret("token"), s.secret("password")
	switch {
	case token != "":
		g.header = bearer(token)
	case s.username() != "" && password != "":
		g.header.Set("Authorization", basic(s.username(), password))
	}
	return g, Traits{}, nil
}

func (g *grafana) Send(ctx context.Context, m Message) (Receipt, error) {
	text := objectName(m.Event) + "\n" + m.text(grafanaText)
	annotation := object{"time": m.Event.Timestamp.UnixMilli(), "text": htmlMarkup.fit(text, grafanaText), "tags": grafanaTagsOf(m)}
	_, err := g.ask(ctx, query{URL: g.to, Header: g.header, JSON: annotation})
	return Receipt{}, err
}

// grafanaTagsOf are flux, the reporting controller, and pairs as Flux writes them, as many as Grafana takes.
func grafanaTagsOf(m Message) []string {
	o := m.Event.InvolvedObject
	tags, left := []string{"flux"}, grafanaTags-len(`["flux"]`)
	add := func(tag string) {
		if left -= jsonBytes(tag) + len(`"",`); tag != "" && left >= 0 {
			tags = append(tags, tag)
		}
	}
	add(grafanaPart(m.Event.ReportingController))
	for _, f := range append([]Field{{"kind", o.Kind}, {"name", o.Name}, {"namespace", o.Namespace}}, metadataOf(m.Event)...) {
		add(grafanaPart(f.Name) + ": " + grafanaPart(f.Value))
	}
	return tags
}

// grafanaPart has no colon: a tag's name ends at one.
func grafanaPart(s string) string {
	return strings.ReplaceAll(exact.line(s, grafanaTag), ":", "|")
}

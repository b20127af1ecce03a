package payload

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// readGeneric reads a call of any program. Where its body is a JSON object it may name what was pushed, by fields that are ours.
func readGeneric(h http.Header, body []byte) (*Event, error) {
	e := &Event{Moves: true, Delivery: h.Get("Idempotency-Key")}
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		if isJSON(h) && len(trimmed) > 0 {
			return nil, fmt.Errorf("%w: no JSON object", ErrMalformed)
		}
		return e, nil
	}
	var p struct {
		Repository   text   `json:"repository"`
		Repositories []text `json:"repositories"`
		Image        text   `json:"image"`
		Images       []text `json:"images"`
	}
	if err := decode(body, &p); err != nil {
		if isJSON(h) {
			return nil, err
		}
		return e, nil
	}
	e.Body = body
	e.addRepositories(string(p.Repository))
	for _, r := range p.Repositories {
		e.addRepositories(string(r))
	}
	e.addImages(string(p.Image))
	for _, i := range p.Images {
		e.addImages(string(i))
	}
	return e, nil
}

func isJSON(h http.Header) bool {
	return strings.HasPrefix(strings.ToLower(h.Get("Content-Type")), "application/json")
}

// readCDEvents reads a CDEvent, and looks for what every one must have.
func readCDEvents(h http.Header, body []byte) (*Event, error) {
	var p struct {
		Context struct {
			Version   string `json:"version"`
			Spec      string `json:"specversion"` // from version 0.5 on
			ID        string `json:"id"`
			Source    string `json:"source"`
			Type      string `json:"type"`
			Timestamp string `json:"timestamp"`
		} `json:"context"`
		Subject struct {
			ID      string    `json:"id"`
			Content cdContent `json:"content"`
		} `json:"subject"`
	}
	if err := decodeStrict(body, &p); err != nil {
		return nil, err
	}
	c := p.Context
	if c.Version+c.Spec == "" || c.ID == "" || c.Source == "" || p.Subject.ID == "" || !strings.HasPrefix(c.Type, "dev.cdevents") {
		return nil, fmt.Errorf("%w: no CDEvent", ErrMalformed)
	}
	if _, err := time.Parse(time.RFC3339, c.Timestamp); err != nil {
		return nil, fmt.Errorf("%w: no CDEvent: bad timestamp", ErrMalformed)
	}
	e := &Event{Name: h.Get("Ce-Type"), Body: body, Moves: true, Delivery: c.Source + " " + c.ID}
	if e.Name == "" {
		e.Name = c.Type
	}
	p.Subject.Content.addTo(e)
	e.addImages(imageOfPackageURL(p.Subject.ID))
	return e, nil
}

// cdContent is what the contents of CDEvents have that names a repository or an artifact.
type cdContent struct {
	URL        text `json:"url"`
	ViewURL    text `json:"viewUrl"`
	ArtifactID text `json:"artifactId"`
	Repository struct {
		ID     text `json:"id"`
		Source text `json:"source"`
	} `json:"repository"`
}

func (c *cdContent) addTo(e *Event) {
	e.addRepositories(string(c.URL), string(c.ViewURL), string(c.Repository.ID), string(c.Repository.Source))
	if c.Repository.Source != "" && c.Repository.ID != "" {
		e.addRepositories(strings.TrimSuffix(string(c.Repository.Source), "/") + "/" + string(c.Repository.ID))
	}
	e.addImages(imageOfPackageURL(string(c.ArtifactID)))
}

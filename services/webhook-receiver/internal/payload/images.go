package payload

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// readHarbor reads a call of Harbor, in its own form or as a CloudEvent.
func readHarbor(h http.Header, body []byte) (*Event, error) {
	type data struct {
		Resources []struct {
			URL text `json:"resource_url"`
		} `json:"resources"`
	}
	var p struct {
		OccurAt present `json:"occur_at"`
		Own     data    `json:"event_data"`
		ID      text    `json:"id"`
		Cloud   data    `json:"data"`
	}
	if err := decode(body, &p); err != nil {
		return nil, err
	}
	e := &Event{Body: body, Moves: true, Delivery: first(h, "Ce-Id"), Timed: bool(p.OccurAt)}
	if e.Delivery == "" {
		e.Delivery = string(p.ID)
	}
	for _, r := range append(p.Own.Resources, p.Cloud.Resources...) {
		e.addImages(string(r.URL))
	}
	return e, nil
}

// readDockerHub reads a call of Docker Hub. The address that it wants to be called back at is left alone.
func readDockerHub(_ http.Header, body []byte) (*Event, error) {
	var p struct {
		PushData struct {
			PushedAt present `json:"pushed_at"`
			Tag      string  `json:"tag"`
		} `json:"push_data"`
		Repository struct {
			Name string `json:"repo_name"`
			URL  string `json:"repo_url"`
		} `json:"repository"`
	}
	if err := decodeStrict(body, &p); err != nil {
		return nil, err
	}
	e := &Event{Body: body, Moves: true, Timed: bool(p.PushData.PushedAt)}
	if p.Repository.Name != "" {
		e.addImages("index.docker.io/" + p.Repository.Name)
	}
	return e, nil
}

// readQuay reads a call of Quay. Two pushes of one tag have the same body, and nothing tells them apart.
func readQuay(_ http.Header, body []byte) (*Event, error) {
	var p struct {
		URL  string   `json:"docker_url"`
		Tags []string `json:"updated_tags"`
	}
	if err := decodeStrict(body, &p); err != nil {
		return nil, err
	}
	e := &Event{Body: body, Moves: true}
	e.addImages(p.URL)
	return e, nil
}

// readGCR reads a call of Google Pub/Sub, which has the news of the registry in it. Expressions see the news alone, as in Flux.
func readGCR(_ http.Header, body []byte) (*Event, error) {
	var p struct {
		Message struct {
			Data string `json:"data"`
			ID   string `json:"messageId"`
		} `json:"message"`
	}
	if err := decodeStrict(body, &p); err != nil {
		return nil, err
	}
	raw, err := base64.StdEncoding.DecodeString(p.Message.Data)
	if err != nil {
		return nil, fmt.Errorf("%w: no base64 in the message", ErrMalformed)
	}
	var news struct {
		Action string `json:"action"`
		Digest string `json:"digest"`
		Tag    string `json:"tag"`
	}
	if err := decodeStrict(raw, &news); err != nil {
		return nil, err
	}
	inner, err := json.Marshal(news)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	e := &Event{Body: inner, Moves: true, Delivery: p.Message.ID}
	e.addImages(news.Digest, news.Tag)
	return e, nil
}

// readNexus reads a call of Nexus Repository. It does not say under which host its images are.
func readNexus(h http.Header, body []byte) (*Event, error) {
	var p struct {
		Timestamp  present `json:"timestamp"`
		Action     string  `json:"action"`
		Repository string  `json:"repositoryName"`
	}
	if err := decodeStrict(body, &p); err != nil {
		return nil, err
	}
	return &Event{Body: body, Moves: true, Delivery: h.Get("X-Nexus-Webhook-Delivery"), Timed: bool(p.Timestamp)}, nil
}

// readACR reads a call of Azure Container Registry.
func readACR(_ http.Header, body []byte) (*Event, error) {
	var p struct {
		ID     text   `json:"id"`
		Action string `json:"action"`
		Target struct {
			Repository string `json:"repository"`
			Tag        string `json:"tag"`
		} `json:"target"`
		Request struct {
			Host text `json:"host"`
		} `json:"request"`
	}
	if err := decodeStrict(body, &p); err != nil {
		return nil, err
	}
	e := &Event{Body: body, Moves: true, Delivery: string(p.ID)}
	if p.Request.Host != "" && p.Target.Repository != "" {
		e.addImages(string(p.Request.Host) + "/" + p.Target.Repository)
	}
	return e, nil
}

// imageOfPackageURL is the image that a package URL (pkg:oci/…) names; empty for none.
func imageOfPackageURL(purl string) string {
	rest, found := strings.CutPrefix(purl, "pkg:oci/")
	if !found {
		return ""
	}
	_, query, _ := strings.Cut(rest, "?")
	query, _, _ = strings.Cut(query, "#")
	values, err := url.ParseQuery(query)
	if err != nil {
		return ""
	}
	return values.Get("repository_url")
}

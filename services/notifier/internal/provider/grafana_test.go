package provider

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Checked against Grafana's OpenAPI document (github.com/grafana/grafana, public/api-merged.json, PostAnnotationsCmd), its columns for tags
// (100 characters each) and annotations.tags_length (500).

func grafanaAPI(authorization string) accept {
	return func(c call) (string, error) {
		var body struct {
			Time int64    `json:"time"`
			Text string   `json:"text"`
			Tags []string `json:"tags"`
		}
		err := expect(c.into(&body), want("method", c.Method, "POST"), want("path", c.URL.Path, "/api/annotations"), want("authorization", c.Header.Get("Authorization"), authorization), atLeast("text", len(body.Text), 1),
			want("in milliseconds", time.Since(time.UnixMilli(body.Time)).Abs() < 24*time.Hour, true))
		size := 1 // as Grafana counts: brackets, quotes and commas too
		for _, tag := range body.Tags {
			size += len(tag) + 3
		}
		err = expect(err, atMost("tags", size, 500), want("first tag", body.Tags[0], "flux"))
		for _, tag := range body.Tags {
			name, value, _ := strings.Cut(tag, ":")
			err = expect(err, atMost("tag's name", characters(name), 100), atMost("tag's value", characters(strings.TrimSpace(value)), 100))
		}
		if strings.ContainsAny(strings.ReplaceAll(body.Text, "<br>", ""), "<>") {
			err = expect(err, fmt.Errorf("text has HTML: %.200s", body.Text))
		}
		return `{"message":"Annotation added","id":1}`, err
	}
}

func TestGrafana(t *testing.T) {
	kit{settings: settings("grafana", "", "token", secretToken, "username", "u", "password", secretPassword), path: "/api/annotations", inSpec: true, check: grafanaAPI("Bearer " + secretToken), machine: true}.run(t)
}

func TestGrafanaBasicAuthentication(t *testing.T) {
	kit{settings: settings("grafana", "", "username", "u", "password", secretPassword), path: "/api/annotations", inSpec: true, check: grafanaAPI(basic("u", secretPassword)), machine: true}.run(t)
}

func TestGrafanaTags(t *testing.T) {
	tags := strings.Join(grafanaTagsOf(sampleMessage()), ",")
	if tags != "flux,kustomize-controller,kind: Kustomization,name: web,namespace: apps,env: prod,kustomize.toolkit.fluxcd.io/revision: main@sha1|731f7eaddfb6af01cb2173e18f0f75b0ba780ef1,summary: shop in production" {
		t.Error(tags)
	}
}

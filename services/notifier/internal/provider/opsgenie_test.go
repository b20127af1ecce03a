package provider

import (
	"errors"
	"testing"
)

// Checked against Opsgenie's OpenAPI document (github.com/opsgenie/opsgenie-oas, CreateAlertPayload and CloseAlertPayload) and the limits
// in docs.opsgenie.com/docs/alert-api.

func TestOpsgenie(t *testing.T) {
	var paths []string
	check := func(c call) (string, error) {
		paths = append(paths, c.URL.RequestURI())
		err := expect(want("method", c.Method, "POST"), want("authorization", c.Header.Get("Authorization"), "GenieKey "+secretToken))
		if c.URL.Path != "/v2/alerts" {
			return checkOpsgenieClose(c, err)
		}
		var body struct {
			Message     string            `json:"message"`
			Alias       string            `json:"alias"`
			Description string            `json:"description"`
			Source      string            `json:"source"`
			Details     map[string]string `json:"details"`
		}
		err = expect(err, c.into(&body), atLeast("message", len(body.Message), 1), atMost("message", characters(body.Message), 130), atMost("alias", len(body.Alias), 512), atLeast("alias", len(body.Alias), 1),
			atMost("description", characters(body.Description), 15_000), atMost("source", characters(body.Source), 100))
		size := 0
		for name, value := range body.Details {
			size += characters(name + value)
		}
		return `{"result":"Request will be processed"}`, expect(err, atMost("details", size, 8000), atLeast("severity", len(body.Details["severity"]), 1))
	}
	kit{settings: settings("opsgenie", "", "token", secretToken), path: "/v2/alerts", inSpec: true, check: check, machine: true}.run(t)
	closed := 0
	for _, p := range paths {
		if p == "/v2/alerts/"+incident+"/close?identifierType=alias" {
			closed++
		}
	}
	if closed != 1 {
		t.Errorf("%d alerts closed: %q", closed, paths)
	}
	s := settings("opsgenie", "")
	s.Spec.Address = "https://api.opsgenie.com/v2/alerts"
	if _, _, err := New(s); !errors.Is(err, ErrSettings) {
		t.Error(err)
	}
}

func checkOpsgenieClose(c call, err error) (string, error) {
	var body struct {
		Source string `json:"source"`
		Note   string `json:"note"`
	}
	return `{"result":"Request will be processed"}`, expect(err, c.into(&body), atMost("note", characters(body.Note), 25_000), atMost("source", characters(body.Source), 100),
		want("request", c.URL.RequestURI(), "/v2/alerts/"+incident+"/close?identifierType=alias"))
}

package provider

import (
	"errors"
	"testing"
)

// Checked against developer.webex.com, create a message: roomId, markdown, 7439 bytes.

func TestWebex(t *testing.T) {
	const path = "/v1/messages"
	check := func(c call) (string, error) {
		var body struct {
			Room     string `json:"roomId"`
			Markdown string `json:"markdown"`
		}
		return `{"id":"1"}`, expect(c.into(&body), want("method", c.Method, "POST"), want("path", c.URL.Path, path), want("authorization", c.Header.Get("Authorization"), "Bearer "+secretToken),
			want("room", body.Room, "Y2lzY29zcGFyazovL3VzL1JPT00"), atLeast("markdown", len(body.Markdown), 1), atMost("markdown", len(body.Markdown), 7439))
	}
	kit{settings: settings("webex", "Y2lzY29zcGFyazovL3VzL1JPT00", "token", secretToken), path: path, inSpec: true, check: check}.run(t)
	if _, _, err := New(settings("webex", "", "token", secretToken, "address", "https://webexapis.com/v1/messages")); !errors.Is(err, ErrSettings) {
		t.Error(err)
	}
}

package provider

import (
	"errors"
	"fmt"
	"net/url"
	"testing"
)

// Checked against Zulip's OpenAPI document (github.com/zulip/zulip, zerver/openapi/zulip.yaml): send-message and update-message, with
// max_message_length 10,000 and max_topic_length 60.

func TestZulip(t *testing.T) {
	check := func(c call) (string, error) {
		form, err := url.ParseQuery(string(c.body))
		user, password, _ := c.BasicAuth()
		err = expect(err, want("user", user, "bot@example.org"), want("key", password, secretPassword), want("type", c.Header.Get("Content-Type"), "application/x-www-form-urlencoded"),
			atLeast("content", len(form.Get("content")), 1), atMost("content", characters(form.Get("content")), 10_000))
		switch c.Method + " " + c.URL.Path {
		case "POST /api/v1/messages":
			err = expect(err, want("fields", len(form), 4), want("type", form.Get("type"), "stream"), want("to", form.Get("to"), "my-channel"), want("topic", form.Get("topic"), "my/topic"))
		case "PATCH /api/v1/messages/42":
			err = expect(err, want("fields", len(form), 1))
		default:
			err = fmt.Errorf("%s %s", c.Method, c.URL.Path)
		}
		return `{"result":"success","msg":"","id":42}`, err
	}
	kit{settings: settings("zulip", "my-channel/my/topic", "username", "bot@example.org", "password", secretPassword), path: "/ignored", inSpec: true, check: check, edits: true,
		inert: []string{"<!channel>", "<users/all>", "<at id", "<script", "<javascript:"}}.run(t) // no HTML
	for _, s := range []Settings{settings("zulip", "general", "username", "u", "password", "p"), settings("zulip", "general/topic", "username", "u")} {
		s.Spec.Address = "https://org.zulipchat.com"
		if _, _, err := New(s); !errors.Is(err, ErrSettings) {
			t.Error(err)
		}
	}
}

package provider

import "testing"

// Checked against docs.rocket.chat's incoming webhooks, which take Slack's attachments, and what Flux sends there.

func TestRocket(t *testing.T) {
	const path = "/hooks/1234/secret-part-of-the-path"
	check := func(c call) (string, error) {
		var body attachmentBody
		return `{"success":true}`, expect(c.into(&body), want("method", c.Method, "POST"), want("path", c.URL.Path, path), want("channel", body.Channel, "#general"), want("username", body.Username, "deployer"), body.check())
	}
	s := settings("rocket", "#general")
	s.Spec.Username = "deployer"
	kit{settings: s, path: path, check: check}.run(t)
}

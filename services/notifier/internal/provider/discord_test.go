package provider

import (
	"fmt"
	"strings"
	"testing"
)

// Checked against the OpenAPI document of Discord's API v10 (github.com/discord/discord-api-spec, ExecuteWebhook and UpdateWebhookMessage)
// and the limits of embeds in docs.discord.com/developers/resources/message.

type discordBody struct {
	Username string `json:"username"`
	Embeds   []struct {
		Title       string `json:"title"`
		Description string `json:"description"`
		Color       int    `json:"color"`
		Fields      []struct {
			Name   string `json:"name"`
			Value  string `json:"value"`
			Inline bool   `json:"inline"`
		} `json:"fields"`
	} `json:"embeds"`
	Allowed *struct {
		Parse []string `json:"parse"`
	} `json:"allowed_mentions"`
}

func (b discordBody) check() error {
	if len(b.Embeds) != 1 || b.Allowed == nil || b.Allowed.Parse == nil || len(b.Allowed.Parse) > 0 {
		return fmt.Errorf("%d embeds, mentions %v", len(b.Embeds), b.Allowed)
	}
	e := b.Embeds[0]
	size := characters(e.Title + e.Description)
	err := expect(atMost("username", characters(b.Username), 80), atMost("title", characters(e.Title), 256), atMost("description", characters(e.Description), 4096), atMost("fields", len(e.Fields), 25), atMost("color", e.Color, 0xffffff))
	for _, f := range e.Fields {
		size += characters(f.Name + f.Value)
		err = expect(err, atLeast("name", len(f.Name), 1), atLeast("value", len(f.Value), 1), atMost("name", characters(f.Name), 256), atMost("value", characters(f.Value), 1024))
	}
	return expect(err, atMost("embed", size, 6000))
}

func TestDiscord(t *testing.T) {
	const path = "/api/webhooks/1234/secret-part-of-the-path"
	check := func(c call) (string, error) {
		var body discordBody
		err := expect(c.into(&body), body.check(), want("type", c.Header.Get("Content-Type"), "application/json"))
		switch c.Method + " " + c.URL.Path {
		case "POST " + path:
			err = expect(err, want("wait", c.URL.Query().Get("wait"), "true"), want("thread", c.URL.Query().Get("thread_id"), "77"))
		case "PATCH " + path + "/messages/1234567890123456789":
			err = expect(err, want("thread", c.URL.Query().Get("thread_id"), "77"), want("username", body.Username, ""))
		default:
			err = fmt.Errorf("%s %s", c.Method, c.URL.Path)
		}
		return `{"id":"1234567890123456789","type":0}`, err
	}
	kit{settings: settings("discord", ""), path: path + "/slack?thread_id=77", check: check, edits: true}.run(t)
}

func TestDiscordEditsNoStrangePath(t *testing.T) {
	s := serve(t, func(c call) (string, error) {
		if strings.Contains(c.URL.Path, "messages") {
			return "", fmt.Errorf("path %s", c.URL.Path)
		}
		return `{"id":"1"}`, nil
	})
	sender, _ := kit{settings: settings("discord", ""), path: "/api/webhooks/1/x"}.sender(t, s.URL)
	m := sampleMessage()
	m.Edit = "../../../users/@me"
	if receipt, err := sender.Send(t.Context(), m); err != nil || receipt.ID != "1" {
		t.Errorf("%v %v", receipt, err)
	}
}

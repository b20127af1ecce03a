package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Checked against docs.slack.dev: chat.postMessage, chat.update, incoming webhooks, and the reference of blocks (header, rich_text, table,
// context).

type slackBlock struct {
	Type     string          `json:"type"`
	Text     *slackTextBlock `json:"text"`
	Elements []slackElement  `json:"elements"`
	Rows     [][]struct {
		Type string `json:"type"`
		Text string `json:"text"`
	} `json:"rows"`
	Columns []struct {
		Align   string `json:"align"`
		Wrapped bool   `json:"is_wrapped"`
	} `json:"column_settings"`
}

type slackTextBlock struct {
	Type  string `json:"type"`
	Text  string `json:"text"`
	Emoji bool   `json:"emoji"`
}

type slackElement struct {
	Type     string         `json:"type"`
	Text     string         `json:"text"`
	URL      string         `json:"url"`
	Emoji    bool           `json:"emoji"`
	Style    map[string]any `json:"style"`
	Elements []slackElement `json:"elements"`
}

type slackBody struct {
	Channel     string       `json:"channel"`
	TS          string       `json:"ts"`
	Username    string       `json:"username"`
	Text        string       `json:"text"`
	Parse       string       `json:"parse"`
	LinkNames   bool         `json:"link_names"`
	UnfurlLinks *bool        `json:"unfurl_links"`
	UnfurlMedia *bool        `json:"unfurl_media"`
	Blocks      []slackBlock `json:"blocks"`
}

func (b slackBody) check() error {
	problems := []error{atMost("text", len([]rune(b.Text)), 4000), atMost("blocks", len(b.Blocks), 50), atLeast("blocks", len(b.Blocks), 1), want("link_names", b.LinkNames, false), want("parse", b.Parse, "none")}
	if strings.ContainsAny(b.Text, "<>") {
		problems = append(problems, errors.New("text has markup"))
	}
	for _, block := range b.Blocks {
		problems = append(problems, block.check())
	}
	return expect(problems...)
}

func (b slackBlock) check() error {
	switch b.Type {
	case "header":
		return expect(want("header", b.Text.Type, "plain_text"), atMost("header", len([]rune(b.Text.Text)), 150), atLeast("header", len(b.Text.Text), 1))
	case "context":
		return expect(atMost("context", len(b.Elements), 10), want("context", b.Elements[0].Type, "plain_text"))
	case "table":
		return b.checkTable()
	case "rich_text":
		return checkRichText(b.Elements)
	}
	return fmt.Errorf("block of type %q", b.Type)
}

func (b slackBlock) checkTable() error {
	problems, size := []error{atMost("rows", len(b.Rows), 100), atMost("settings", len(b.Columns), 20)}, 0
	for _, row := range b.Rows {
		problems = append(problems, want("columns", len(row), len(b.Rows[0])))
		for _, c := range row {
			problems = append(problems, want("cell", c.Type, "raw_text"), atLeast("cell", len(c.Text), 1))
			size += len([]rune(c.Text))
		}
	}
	return expect(append(problems, atMost("table", size, 10_000))...)
}

func checkRichText(elements []slackElement) error {
	var problems []error
	for _, e := range elements {
		problems = append(problems, want("element", e.Type, "rich_text_section"), atLeast("elements", len(e.Elements), 1))
		for _, part := range e.Elements {
			if part.Type != "text" && part.Type != "link" {
				problems = append(problems, fmt.Errorf("element of type %q", part.Type))
			}
			problems = append(problems, atLeast("text", len(part.Text), 1), atMost("text", len([]rune(part.Text)), 3000))
			if part.Type == "link" && !strings.HasPrefix(part.URL, "https://") {
				problems = append(problems, fmt.Errorf("link to %q", part.URL))
			}
		}
	}
	return expect(problems...)
}

func slackAPI(c call) (string, error) {
	var body slackBody
	err := expect(c.into(&body), want("method", c.Method, "POST"), want("authorization", c.Header.Get("Authorization"), "Bearer "+secretToken),
		want("type", c.Header.Get("Content-Type"), "application/json; charset=utf-8"), body.check())
	switch c.URL.Path {
	case "/api/chat.postMessage":
		err = expect(err, want("channel", body.Channel, "general"), want("ts", body.TS, ""))
	case "/api/chat.update":
		err = expect(err, want("channel", body.Channel, "C024BE91L"), want("ts", body.TS, "1401383885.000061"), want("username", body.Username, ""))
	default:
		err = fmt.Errorf("path %s", c.URL.Path)
	}
	if err != nil {
		answer, _ := json.Marshal(map[string]any{"ok": false, "error": err.Error()})
		return string(answer), nil
	}
	return `{"ok":true,"channel":"C024BE91L","ts":"1401383885.000061"}`, nil
}

// literal pings are words within the elements of blocks.
var slackInert = []string{"<!channel>", "<@U123>", "<users/all>", "<at id", "<script", "](javascript:", "<javascript:"}

func TestSlackBot(t *testing.T) {
	k := kit{settings: settings("slack", "general", "token", secretToken), path: "/api/chat.postMessage", inSpec: true, check: slackAPI, edits: true, inert: slackInert}
	k.run(t)
	for code, final := range map[string]bool{"channel_not_found": true, "invalid_auth": true, "token_expired": true, "internal_error": false} {
		s := serve(t, func(call) (string, error) { return fmt.Sprintf(`{"ok":false,"error":%q}`, code), nil })
		sender, _ := k.sender(t, s.URL)
		_, err := sender.Send(t.Context(), sampleMessage())
		refused, ok := errors.AsType[*Refusal](err)
		if ok != final || !strings.Contains(fmt.Sprint(err), code) || ok && refused.Login != (code != "channel_not_found") {
			t.Errorf("%s: %v", code, err)
		}
	}
}

func TestSlackBotIsLimitedWithStatus200(t *testing.T) {
	k := kit{settings: settings("slack", "general", "token", secretToken), path: "/api/chat.postMessage", inSpec: true}
	sender, _ := k.sender(t, serve(t, func(call) (string, error) { return `{"ok":false,"error":"ratelimited"}`, nil }).URL)
	_, err := sender.Send(t.Context(), sampleMessage())
	if _, ok := errors.AsType[*Busy](err); !ok {
		t.Error(err)
	}
}

func TestSlackSendsAnewWhatCannotBeEdited(t *testing.T) {
	k := kit{settings: settings("slack", "general", "token", secretToken), path: "/api/chat.postMessage", inSpec: true}
	s := serve(t, func(c call) (string, error) {
		if c.URL.Path == "/api/chat.update" {
			return `{"ok":false,"error":"message_not_found"}`, nil
		}
		return slackAPI(c)
	})
	sender, _ := k.sender(t, s.URL)
	m := sampleMessage()
	m.Edit = "C024BE91L/1401383885.000061"
	receipt, err := sender.Send(t.Context(), m)
	if err != nil || receipt.ID == "" || len(s.taken()) != 2 {
		t.Errorf("%v %v, %d requests", receipt, err, len(s.taken()))
	}
}

func TestSlackGoesWithoutBlocks(t *testing.T) {
	s := serve(t, func(c call) (string, error) {
		var body slackBody
		if err := c.into(&body); err != nil || len(body.Blocks) > 0 {
			return "", errors.New("invalid_blocks")
		}
		return "ok", expect(want("table", strings.Contains(body.Text, "Kustomization/apps/web"), true), want("link", strings.Contains(body.Text, "<https://git.example.com/team/apps/commit/731f7eaddfb6af01cb2173e18f0f75b0ba780ef1|commit>"), true))
	})
	sender, _ := kit{settings: settings("slack", ""), path: "/services/T/B/x"}.sender(t, s.URL)
	if _, err := sender.Send(t.Context(), sampleMessage()); err != nil || len(s.taken()) != 2 {
		t.Errorf("%v, %d requests", err, len(s.taken()))
	}
}

func TestSlackWebhook(t *testing.T) {
	const path = "/services/T000/B000/secret-part-of-the-path"
	check := func(c call) (string, error) {
		var body slackBody
		return "ok", expect(c.into(&body), want("method", c.Method, "POST"), want("path", c.URL.Path, path), want("token", c.Header.Get("Authorization"), ""), body.check())
	}
	kit{settings: settings("slack", ""), path: path, check: check, inert: slackInert}.run(t)
}

// What Slack's old form allows (docs.slack.dev/legacy/legacy-messaging/legacy-secondary-message-attachments), as Mattermost
// (developers.mattermost.com/integrate/reference/message-attachments), Rocket.Chat and Flux have it.
type attachmentBody struct {
	Channel     string `json:"channel"`
	Username    string `json:"username"`
	Attachments []struct {
		Fallback   string   `json:"fallback"`
		Color      string   `json:"color"`
		AuthorName string   `json:"author_name"`
		Text       string   `json:"text"`
		MrkdwnIn   []string `json:"mrkdwn_in"`
		Fields     []struct {
			Title string `json:"title"`
			Value string `json:"value"`
			Short bool   `json:"short"`
		} `json:"fields"`
	} `json:"attachments"`
}

func (b attachmentBody) check() error {
	if len(b.Attachments) != 1 {
		return fmt.Errorf("%d attachments", len(b.Attachments))
	}
	a := b.Attachments[0]
	err := expect(atMost("fields", len(a.Fields), 20), atMost("text", len([]rune(a.Text)), 3000), want("color", len(a.Color), len("#123456")))
	for _, f := range a.Fields {
		err = expect(err, atLeast("title", len(f.Title)+len(f.Value), 1), atMost("value", len([]rune(f.Value)), 300))
	}
	return err
}

func TestSlackCompatibleWebhook(t *testing.T) {
	const path = "/hooks/secret-part-of-the-path"
	check := func(c call) (string, error) {
		var body attachmentBody
		return "ok", expect(c.into(&body), want("method", c.Method, "POST"), want("path", c.URL.Path, path), want("channel", body.Channel, "town-square"), body.check())
	}
	kit{settings: settings("slack", "town-square"), path: path, check: check}.run(t)
}

func TestSlackSettings(t *testing.T) {
	for name, s := range map[string]Settings{
		"no address": settings("slack", "general"),
		"no token":   settings("slack", "general", "address", "https://slack.com/api/chat.postMessage"),
		"no channel": settings("slack", "", "address", "https://slack.com/api/chat.postMessage", "token", secretToken),
		"no URL":     settings("slack", "", "address", "hooks.slack.com/"+secretToken),
		"bad URL":    settings("slack", "", "address", "https://hooks.slack.com/%zz"+secretToken),
		"file":       settings("slack", "", "address", "file:///etc/passwd"),
		"no type":    settings("sms", ""),
	} {
		if _, _, err := New(s); !errors.Is(err, ErrSettings) || strings.Contains(err.Error(), secretToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for address, blocks := range map[string]bool{"https://hooks.slack.com/services/T/B/x": true, "https://hooks.slack-gov.com/services/T/B/x": true, "https://chat.example.com/hooks/x": false, "https://evil-slack.com/hooks/x": false} {
		made, traits, err := New(settings("slack", "", "address", address))
		if err != nil || made.(*slack).blocks != blocks || traits.Edits || traits.Every != time.Second {
			t.Errorf("%s: %v %v", address, traits, err)
		}
	}
}

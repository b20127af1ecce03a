package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Checked against the JSON schema of Adaptive Cards 1.4 (github.com/microsoft/AdaptiveCards, schemas/1.4.0) and Microsoft's pages on
// workflows' webhooks and connectors: 28 KB in all.

type teamsBody struct {
	Type        string `json:"type"`
	Attachments []struct {
		ContentType string `json:"contentType"`
		Content     struct {
			Schema  string `json:"$schema"`
			Type    string `json:"type"`
			Version string `json:"version"`
			Body    []struct {
				Type    string `json:"type"`
				Inlines []struct {
					Type   string `json:"type"`
					Text   string `json:"text"`
					Size   string `json:"size"`
					Weight string `json:"weight"`
					Color  string `json:"color"`
				} `json:"inlines"`
			} `json:"body"`
			Actions []struct {
				Type  string `json:"type"`
				Title string `json:"title"`
				URL   string `json:"url"`
			} `json:"actions"`
			MSTeams struct {
				Width string `json:"width"`
			} `json:"msteams"`
		} `json:"content"`
	} `json:"attachments"`
}

func (b teamsBody) check() error {
	if len(b.Attachments) != 1 {
		return fmt.Errorf("%d attachments", len(b.Attachments))
	}
	card := b.Attachments[0].Content
	err := expect(want("type", b.Type, "message"), want("content", b.Attachments[0].ContentType, "application/vnd.microsoft.card.adaptive"),
		want("card", card.Type, "AdaptiveCard"), want("version", card.Version, "1.4"), atLeast("body", len(card.Body), 1), atMost("actions", len(card.Actions), 6))
	for _, block := range card.Body {
		err = expect(err, want("block", block.Type, "RichTextBlock"), atLeast("inlines", len(block.Inlines), 1))
		for _, run := range block.Inlines {
			err = expect(err, want("inline", run.Type, "TextRun"), atLeast("text", len(run.Text), 1))
			if run.Color != "" && !strings.Contains(" default good warning attention ", " "+run.Color+" ") {
				err = expect(err, fmt.Errorf("color %q", run.Color))
			}
		}
	}
	for _, action := range card.Actions {
		err = expect(err, want("action", action.Type, "Action.OpenUrl"), want("scheme", strings.HasPrefix(action.URL, "https://"), true))
	}
	return err
}

func TestMSTeams(t *testing.T) {
	const path = "/workflows/secret-part-of-the-path/triggers/manual/paths/invoke"
	check := func(c call) (string, error) {
		var body teamsBody
		return "", expect(c.into(&body), atMost("message", len(c.body), 28_000), want("method", c.Method, "POST"), want("path", c.URL.Path, path), want("sig", c.URL.Query().Get("sig"), "abcdefghijklmnop-secret"), body.check())
	}
	kit{settings: settings("msteams", ""), path: path + "?api-version=1&sig=abcdefghijklmnop-secret", check: check, inert: slackInert}.run(t)
}

type connectorBody struct {
	Type     string `json:"@type"`
	Context  string `json:"@context"`
	Color    string `json:"themeColor"`
	Summary  string `json:"summary"`
	Title    string `json:"title"`
	Sections []struct {
		Markdown *bool  `json:"markdown"`
		Text     string `json:"text"`
		Facts    []struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		} `json:"facts"`
	} `json:"sections"`
}

func TestMSTeamsConnector(t *testing.T) {
	const path = "/webhookb2/secret-part-of-the-path"
	check := func(c call) (string, error) {
		var body connectorBody
		err := expect(c.into(&body), atMost("message", len(c.body), 28_000), want("type", body.Type, "MessageCard"), want("color", len(body.Color), 6), atLeast("summary", len(body.Summary), 1), want("sections", len(body.Sections), 1))
		if err == nil {
			err = want("markdown", *body.Sections[0].Markdown, false)
		}
		return "1", err
	}
	// Sections have no Markdown.
	kit{settings: settings("msteams", ""), path: path, check: check, connector: true, inert: []string{"](javascript:"}}.run(t)
}

func TestMSTeamsKnowsConnectors(t *testing.T) {
	for address, connector := range map[string]bool{"https://team.webhook.office.com/webhookb2/x": true, "https://prod.logic.azure.com:443/workflows/x": false, "https://webhook.office.com.evil.example/x": false} {
		made, _, err := New(settings("msteams", "", "address", address))
		if err != nil || made.(*msteams).connector != connector {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestMSTeamsConnectorTellsFailuresWithStatus200(t *testing.T) {
	for answer, check := range map[string]func(error) bool{
		"Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with ContextId x": func(err error) bool { _, ok := errors.AsType[*Busy](err); return ok },
		"Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 413 with ContextId x": func(err error) bool { _, ok := errors.AsType[*Refusal](err); return ok },
		"1": func(err error) bool { return err == nil },
	} {
		s := serve(t, func(call) (string, error) { return answer, nil })
		sender, _ := kit{settings: settings("msteams", ""), connector: true}.sender(t, s.URL)
		if _, err := sender.Send(t.Context(), sampleMessage()); !check(err) {
			t.Errorf("%s: %v", answer, err)
		}
	}
}

func TestMSTeamsShowsAsMuchAsFits(t *testing.T) {
	s := serve(t, func(c call) (string, error) { return "", atMost("message", len(c.body), 28_000) })
	sender, _ := kit{settings: settings("msteams", "")}.sender(t, s.URL)
	m := bigMessage()
	if _, err := sender.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	var body teamsBody
	if err := json.Unmarshal(s.last(t).body, &body); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprint(body)
	if !strings.Contains(text, "Kustomization/team-050/application") || !strings.Contains(text, "more}") && !strings.Contains(text, " more ") {
		t.Errorf("%.2000s", text)
	}
	if s.last(t).Method != http.MethodPost {
		t.Error(s.last(t).Method)
	}
}

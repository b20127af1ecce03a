package provider

import (
	"context"
	"net/url"
	"time"
)

// googlechat tells a space of Google Chat by its webhook. What belongs to one incident stays in one thread.
type googlechat struct {
	*client
	to *url.URL
}

// chatBody is what the free part of a card may have in bytes; all of a message may have 32,000.
const chatBody = 12_000

func newGoogleChat(s Settings) (Sender, Traits, error) {
	to, err := s.address()
	if err != nil {
		return nil, Traits{}, err
	}
	// developers.google.com/workspace/chat/limits: one message a second and space, shared by all webhooks there.
	return &googlechat{newClient(s), to}, Traits{Groups: true, Every: time.Second, Burst: 1}, nil
}

func (g *googlechat) Send(ctx context.Context, m Message) (Receipt, error) {
	to, message, asked := *g.to, googleMessage(m.Content), g.to.Query()
	if m.Incident != "" && asked.Get("threadKey") == "" {
		message["thread"] = object{"threadKey": m.Incident}
	}
	if asked.Get("messageReplyOption") == "" {
		asked.Set("messageReplyOption", "REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD")
	}
	asked.Set("requestId", m.Key) // sent again, it is the same message
	to.RawQuery = asked.Encode()
	_, err := g.ask(ctx, query{URL: &to, JSON: message})
	return Receipt{}, err
}

// googleMessage is one card (developers.google.com/workspace/chat/api/reference/rest/v1/cards).
func googleMessage(c Content) object {
	title := verbatim.line(c.heading(), maxTitle)
	body := Content{State: c.State, Text: c.Text, Rows: c.Rows, RowsMore: c.RowsMore}
	widgets := []any{}
	if text := composeBody(body, htmlMarkup, chatBody); text != "" {
		widgets = append(widgets, object{"textParagraph": object{"text": text}})
	}
	for _, f := range c.fields(maxFields) {
		widgets = append(widgets, object{"decoratedText": object{"topLabel": verbatim.fit(f.Name, maxName), "text": htmlMarkup.fit(f.Value, maxValue), "wrapText": true}})
	}
	if buttons := googleButtons(c); len(buttons) > 0 {
		widgets = append(widgets, object{"buttonList": object{"buttons": buttons}})
	}
	card := object{"header": object{"title": title}}
	if len(widgets) > 0 {
		card["sections"] = []any{object{"widgets": widgets}}
	}
	return object{"fallbackText": title, "cardsV2": []any{object{"cardId": "sluice", "card": card}}}
}

func googleButtons(c Content) []any {
	var found []any
	for _, l := range c.links() {
		if len(l.URL) <= 800 {
			found = append(found, object{"text": verbatim.fit(l.Text, maxName), "onClick": object{"openLink": object{"url": l.URL}}})
		}
	}
	return found
}

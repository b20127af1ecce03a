package provider

import (
	"context"
	"net/url"
)

// webex tells a room of Webex as a bot.
type webex struct {
	*client
	to    *url.URL
	room  string
	token string
}

// webexText is what a message may have in bytes, less some room: 7439 (developer.webex.com/docs/api/v1/messages/create-a-message).
const webexText = 7200

func newWebex(s Settings) (Sender, Traits, error) {
	to, err := s.address()
	if err != nil {
		return nil, Traits{}, err
	}
	token, err := s.needToken()
	if err != nil {
		return nil, Traits{}, err
	}
	room, err := s.needChannel("the ID of a room")
	// Webex names no numbers (developer.webex.com/docs/basics#rate-limits), and lets a message be edited ten times only: not often enough.
	return &webex{newClient(s), to, room, token}, Traits{Groups: true}, err
}

func (w *webex) Send(ctx context.Context, m Message) (Receipt, error) {
	message := object{"roomId": w.room, "markdown": compose(m.Content, webexMarkup, webexText)}
	_, err := w.ask(ctx, query{URL: w.to, Header: bearer(w.token), JSON: message})
	return Receipt{}, err
}

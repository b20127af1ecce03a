package provider

import (
	"context"
	"net/url"
)

// rocket tells a channel of Rocket.Chat by its webhook, which takes Slack's old form.
type rocket struct {
	*client
	settings Settings
	to       *url.URL
}

func newRocket(s Settings) (Sender, Traits, error) {
	to, err := s.address()
	if err != nil {
		return nil, Traits{}, err
	}
	// Rocket.Chat limits nothing by itself but by the settings of its administrator.
	return &rocket{newClient(s), s, to}, Traits{Groups: true}, nil
}

func (r *rocket) Send(ctx context.Context, m Message) (Receipt, error) {
	_, err := r.ask(ctx, query{URL: r.to, JSON: slackAttachment(r.settings, m)})
	return Receipt{}, err
}

package provider

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// slack tells a channel of Slack by an incoming webhook, or by chat.postMessage with a bot's token, whose messages it can edit. Services
// that take Slack's old form at a webhook, such as Mattermost, get attachments.
type slack struct {
	*client
	settings Settings
	to       *url.URL
	bot      bool // to is the Web API
	blocks   bool // to is Slack itself
	token    string
}

const postMessage = "/chat.postMessage"

func newSlack(s Settings) (Sender, Traits, error) {
	to, err := s.address()
	if err != nil {
		return nil, Traits{}, err
	}
	c := &slack{client: newClient(s), settings: s, to: to, token: s.secret("token"), bot: strings.HasSuffix(to.Path, postMessage)}
	c.blocks = c.bot || to.Hostname() == "slack.com" || strings.HasSuffix(to.Hostname(), ".slack.com") ||
		strings.HasSuffix(to.Hostname(), ".slack-gov.com") || strings.HasPrefix(to.Path, "/services/")
	if err := c.check(); err != nil {
		return nil, Traits{}, err
	}
	// docs.slack.dev/apis/web-api/rate-limits: one message a second and channel, by API and by webhook, with short bursts above it.
	return c, Traits{Groups: true, Edits: c.bot, Every: time.Second, Burst: 3}, nil
}

func (c *slack) check() error {
	if !c.bot {
		return nil
	}
	if _, err := c.settings.needToken(); err != nil {
		return err
	}
	_, err := c.settings.needChannel("the name or ID of a channel")
	return err
}

func (c *slack) Send(ctx context.Context, m Message) (Receipt, error) {
	receipt, err := c.send(ctx, m, slackMessage(m.Content))
	if no, ok := errors.AsType[*Refusal](err); ok && strings.Contains(no.Reason, "invalid_blocks") {
		return c.send(ctx, m, slackPlain(m.Content)) // not every workspace takes every block: better without than not at all
	}
	return receipt, err
}

func (c *slack) send(ctx context.Context, m Message, body object) (Receipt, error) {
	if channel, ts, ok := strings.Cut(m.Edit, "/"); ok && c.bot {
		return edited(func() (Receipt, error) { return c.update(ctx, body, channel, ts) }, func() (Receipt, error) { return c.post(ctx, m, body) })
	}
	return c.post(ctx, m, body)
}

func (c *slack) post(ctx context.Context, m Message, body object) (Receipt, error) {
	if !c.blocks {
		_, err := c.ask(ctx, c.query(c.to, slackAttachment(c.settings, m)))
		return Receipt{}, err
	}
	body = maps.Clone(body)
	body["username"] = c.settings.author(m)
	if c.settings.Spec.Channel != "" {
		body["channel"] = c.settings.Spec.Channel
	}
	if !c.bot {
		_, err := c.ask(ctx, c.query(c.to, body))
		return Receipt{}, err
	}
	return c.call(ctx, c.to, body)
}

// update replaces a message; the API knows it by the channel's ID.
func (c *slack) update(ctx context.Context, body object, channel, ts string) (Receipt, error) {
	to := *c.to
	to.Path = strings.TrimSuffix(to.Path, postMessage) + "/chat.update"
	body = maps.Clone(body)
	body["channel"], body["ts"] = channel, ts
	return c.call(ctx, &to, body)
}

func (c *slack) query(to *url.URL, body any) query {
	q := query{URL: to, JSON: body, Header: http.Header{"Content-Type": {"application/json; charset=utf-8"}}}
	if c.token != "" {
		q.Header.Set("Authorization", "Bearer "+c.token)
	}
	return q
}

// call asks the Web API, which says with status 200 too that it refuses.
func (c *slack) call(ctx context.Context, to *url.URL, body any) (Receipt, error) {
	var said struct {
		OK      bool   `json:"ok"`
		Error   string `json:"error"`
		Channel string `json:"channel"`
		TS      string `json:"ts"`
	}
	a, err := c.hear(ctx, c.query(to, body), &said)
	switch {
	case err != nil:
		return Receipt{}, err
	case said.OK:
		return Receipt{ID: said.Channel + "/" + said.TS}, nil
	}
	return Receipt{}, c.slackError(a, said.Error)
}

func (c *slack) slackError(a answer, code string) error {
	switch code {
	case "ratelimited", "rate_limited", "message_limit_exceeded":
		return &Busy{After: a.wait(time.Now())}
	case "internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org":
		return fmt.Errorf("%s answered: %s", c.hidden.host(c.to), c.hidden.clean(code))
	}
	return &Refusal{Status: a.Status, Reason: c.hidden.clean(code), Login: slackLogin[code]}
}

// slackLogin are the errors of the Web API that are about the token.
var slackLogin = map[string]bool{
	"invalid_auth": true, "not_authed": true, "token_revoked": true, "token_expired": true, "account_inactive": true, "no_permission": true, "missing_scope": true,
	"not_allowed_token_type": true, "org_login_required": true, "ekm_access_denied": true, "access_denied": true, "two_factor_setup_required": true,
}

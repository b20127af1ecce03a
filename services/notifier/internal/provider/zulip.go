package provider

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// zulip tells a topic of a Zulip channel as a bot, and edits what it told for as long as the organization lets it.
type zulip struct {
	*client
	server         *url.URL
	channel, topic string
	user, key      string
}

// Limits of messages (zulip.com/api/send-message): characters of content and topic.
const (
	zulipText  = 10_000
	zulipTopic = 60
)

func newZulip(s Settings) (Sender, Traits, error) {
	server, err := s.address()
	if err != nil {
		return nil, Traits{}, err
	}
	channel, topic, _ := strings.Cut(s.Spec.Channel, "/")
	z := &zulip{newClient(s), server, channel, topic, s.username(), s.secret("password")}
	if channel == "" || topic == "" {
		return nil, Traits{}, fmt.Errorf("%w: spec.channel must be a channel and a topic, as in general/alerts", ErrSettings)
	}
	if z.user == "" || z.key == "" {
		return nil, Traits{}, fmt.Errorf("%w: a Secret with username, a bot's address, and password, its key, is needed", ErrSettings)
	}
	// zulip.com/api/rest-error-handling#rate-limit-exceeded: 200 requests a minute and user.
	return z, Traits{Groups: true, Edits: true, Every: 300 * time.Millisecond, Burst: 10}, nil
}

func (z *zulip) Send(ctx context.Context, m Message) (Receipt, error) {
	if _, err := strconv.ParseUint(m.Edit, 10, 64); err == nil {
		return edited(func() (Receipt, error) { return z.edit(ctx, m) }, func() (Receipt, error) { return z.post(ctx, m) })
	}
	return z.post(ctx, m)
}

func (z *zulip) post(ctx context.Context, m Message) (Receipt, error) {
	form := url.Values{"type": {"stream"}, "to": {z.channel}, "topic": {verbatim.line(z.topic, zulipTopic)}, "content": {compose(m.Content, zulipMarkup, zulipText)}}
	var said struct {
		ID int64 `json:"id"`
	}
	err := z.tell(ctx, z.query(http.MethodPost, "", form), &said)
	return numbered(said.ID), err
}

func (z *zulip) edit(ctx context.Context, m Message) (Receipt, error) {
	form := url.Values{"content": {compose(m.Content, zulipMarkup, zulipText)}}
	_, err := z.ask(ctx, z.query(http.MethodPatch, "/"+m.Edit, form))
	return Receipt{ID: m.Edit}, err
}

// query is a form for the messages of the server at the address, whatever its path, as in Flux.
func (z *zulip) query(method, path string, form url.Values) query {
	to := &url.URL{Scheme: z.server.Scheme, Host: z.server.Host, Path: "/api/v1/messages" + path}
	header := http.Header{"Authorization": {basic(z.user, z.key)}}
	return query{Method: method, URL: to, Header: header, Body: []byte(form.Encode()), Type: "application/x-www-form-urlencoded"}
}

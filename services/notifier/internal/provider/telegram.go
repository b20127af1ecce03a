package provider

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// telegram tells a chat, or a topic of a forum, as a bot. Its address is always that of the Bot API, as in Flux.
type telegram struct {
	*client
	api   *url.URL
	token string
	chat  string
	topic int64 // 0 for none
}

// telegramText is what a message may have, in characters (core.telegram.org/bots/api#sendmessage).
const telegramText = 4096

func newTelegram(s Settings) (Sender, Traits, error) {
	token, err := s.needToken()
	if err != nil {
		return nil, Traits{}, err
	}
	channel, err := s.needChannel("a chat's ID, its ID and a topic's as in -1234567890:1, or @name")
	if err != nil {
		return nil, Traits{}, err
	}
	chat, topic, err := telegramChat(channel)
	if err != nil {
		return nil, Traits{}, err
	}
	api := &url.URL{Scheme: "https", Host: "api.telegram.org"}
	_, id, _ := strings.Cut(token, ":")
	// core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this: one message a second and chat, 20 a minute in a group.
	return &telegram{newClient(s, id), api, token, chat, topic}, Traits{Groups: true, Edits: true, Every: 3 * time.Second, Burst: 3}, nil
}

func telegramChat(channel string) (chat string, topic int64, err error) {
	chat, number, found := strings.Cut(channel, ":")
	if found {
		if topic, err = strconv.ParseInt(number, 10, 64); err != nil {
			return "", 0, fmt.Errorf("%w: the topic in spec.channel is no number", ErrSettings)
		}
	}
	return chat, topic, nil
}

func (t *telegram) Send(ctx context.Context, m Message) (Receipt, error) {
	if id, err := strconv.ParseInt(m.Edit, 10, 64); err == nil {
		return edited(func() (Receipt, error) { return t.edit(ctx, m, id) }, func() (Receipt, error) { return t.post(ctx, m) })
	}
	return t.post(ctx, m)
}

func (t *telegram) post(ctx context.Context, m Message) (Receipt, error) {
	message := t.message(m)
	if t.topic != 0 {
		message["message_thread_id"] = t.topic
	}
	return t.call(ctx, "sendMessage", message)
}

func (t *telegram) edit(ctx context.Context, m Message, id int64) (Receipt, error) {
	message := t.message(m)
	message["message_id"] = id
	receipt, err := t.call(ctx, "editMessageText", message)
	if no, ok := errors.AsType[*Refusal](err); ok && strings.Contains(no.Reason, "message is not modified") {
		return Receipt{ID: m.Edit}, nil // it says that already
	}
	return receipt, err
}

func (t *telegram) message(m Message) object {
	return object{"chat_id": t.chat, "text": compose(m.Content, telegramMarkup, telegramText), "parse_mode": "HTML", "link_preview_options": object{"is_disabled": true}}
}

func (t *telegram) call(ctx context.Context, method string, message object) (Receipt, error) {
	to := *t.api
	to.Path = "/bot" + t.token + "/" + method
	var said struct {
		Result struct {
			ID int64 `json:"message_id"`
		} `json:"result"`
	}
	err := t.tell(ctx, query{URL: &to, JSON: message}, &said)
	return numbered(said.Result.ID), err
}

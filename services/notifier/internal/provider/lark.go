package provider

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// lark tells a group of Lark or Feishu by a custom bot's webhook. Key token of the Secret is what the bot's signatures are made with.
type lark struct {
	*client
	to    *url.URL
	token string
}

// What a message may have, in bytes of JSON: 20 KB in all (open.larksuite.com, custom bot usage guide).
const (
	larkText   = 8000
	larkFields = 10
	larkLinks  = 3000
)

func newLark(s Settings) (Sender, Traits, error) {
	to, err := s.address()
	if err != nil {
		return nil, Traits{}, err
	}
	// The same guide: 100 messages a minute, 5 a second.
	return &lark{newClient(s), to, s.secret("token")}, Traits{Groups: true, Every: 600 * time.Millisecond, Burst: 5}, nil
}

func (l *lark) Send(ctx context.Context, m Message) (Receipt, error) {
	message := object{"msg_type": "interactive", "card": larkCard(m.Content)}
	if l.token != "" {
		at := strconv.FormatInt(time.Now().Unix(), 10)
		message["timestamp"], message["sign"] = at, larkSign(at, l.token)
	}
	var said struct {
		Code int    `json:"code"`
		Text string `json:"msg"`
	}
	a, err := l.hear(ctx, query{URL: l.to, JSON: message}, &said)
	switch {
	case err != nil || said.Code == 0:
		return Receipt{}, err
	case said.Code == 11232 || said.Code == 99991400: // too many messages
		return Receipt{}, &Busy{After: a.wait(time.Now())}
	}
	return Receipt{}, &Refusal{Status: a.Status, Reason: l.hidden.clean(fmt.Sprintf("code %d: %s", said.Code, said.Text)), Login: said.Code == larkBadSign}
}

// larkBadSign is the code for a signature that is not the token's.
const larkBadSign = 19021

// larkSign is the HMAC of nothing: what is signed is its key.
func larkSign(at, token string) string {
	return base64.StdEncoding.EncodeToString(hmac.New(sha256.New, []byte(at+"\n"+token)).Sum(nil))
}

// larkCard is a card whose text has the tag without markup.
func larkCard(c Content) object {
	elements := []any{}
	body := Content{State: c.State, Text: c.Text, Rows: c.Rows, RowsMore: c.RowsMore}
	if text := composeBody(body, plainMarkup, larkText); text != "" {
		elements = append(elements, object{"tag": "div", "text": larkPlain(text)})
	}
	var fields []any
	for _, f := range c.fields(larkFields) {
		line := plainMarkup.fit(f.Name, maxName) + ": " + plainMarkup.fit(f.Value, maxValue)
		fields = append(fields, object{"is_short": false, "text": larkPlain(line)})
	}
	if len(fields) > 0 {
		elements = append(elements, object{"tag": "div", "fields": fields})
	}
	if buttons := larkButtons(c); len(buttons) > 0 {
		elements = append(elements, object{"tag": "action", "actions": buttons})
	}
	return object{
		"config": object{"wide_screen_mode": true}, "elements": elements,
		"header": object{"title": larkPlain(plainMarkup.line(c.heading(), maxTitle)), "template": larkColor(c.State)},
	}
}

func larkPlain(text string) object { return object{"tag": "plain_text", "content": text} }

func larkColor(s State) string {
	return map[State]string{Progressing: "yellow", Succeeded: "green", Failed: "red", Informed: "blue"}[s.known()]
}

func larkButtons(c Content) []any {
	var found []any
	left := larkLinks
	for _, l := range c.links() {
		if left -= len(l.URL); left < 0 {
			break
		}
		found = append(found, object{"tag": "button", "type": "default", "url": l.URL, "text": larkPlain(plainMarkup.fit(l.Text, maxName))})
	}
	return found
}

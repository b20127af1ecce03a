package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Checked against the Bot API's methods sendMessage and editMessageText (core.telegram.org/bots/api, as in
// github.com/PaulSonOfLars/telegram-bot-api-spec) and its rules for HTML.

type telegramBody struct {
	Chat    string `json:"chat_id"`
	Topic   int64  `json:"message_thread_id"`
	Message int64  `json:"message_id"`
	Text    string `json:"text"`
	Mode    string `json:"parse_mode"`
	Preview struct {
		Disabled bool `json:"is_disabled"`
	} `json:"link_preview_options"`
}

var telegramTags = regexp.MustCompile(`<b>|</b>|<a href="https://[^"<>]*">|</a>`)
var telegramEntities = regexp.MustCompile(`&(lt|gt|amp|quot);`)

// checkTelegramHTML refuses what Telegram cannot parse.
func checkTelegramHTML(text string) error {
	rest := telegramEntities.ReplaceAllString(telegramTags.ReplaceAllString(text, ""), "")
	if at := strings.IndexAny(rest, "<>&"); at >= 0 {
		return fmt.Errorf("can't parse entities: %.100q", rest[at:])
	}
	return want("bold tags", strings.Count(text, "<b>"), strings.Count(text, "</b>"))
}

func telegramKit(check accept) kit {
	return kit{settings: settings("telegram", "-1552289257:7", "token", "123456:"+secretToken), check: check, edits: true, inert: []string{"](javascript:"}, // no Markdown

		adjust: func(s Sender, base *url.URL) { s.(*telegram).api = base }}
}

func telegramAPI(c call) (string, error) {
	var body telegramBody
	err := expect(c.into(&body), want("method", c.Method, "POST"), want("chat", body.Chat, "-1552289257"), want("mode", body.Mode, "HTML"), want("preview", body.Preview.Disabled, true),
		atLeast("text", len(body.Text), 1), atMost("text", characters(body.Text), 4096), checkTelegramHTML(body.Text))
	switch c.URL.Path {
	case "/bot123456:" + secretToken + "/sendMessage":
		err = expect(err, want("topic", body.Topic, 7))
	case "/bot123456:" + secretToken + "/editMessageText":
		err = expect(err, want("topic", body.Topic, 0), want("message", body.Message, 4242))
	default:
		err = errors.New("path " + c.URL.Path)
	}
	return `{"ok":true,"result":{"message_id":4242,"chat":{"id":-1552289257}}}`, err
}

func TestTelegram(t *testing.T) { telegramKit(telegramAPI).run(t) }

func TestTelegramEdits(t *testing.T) {
	for reason, requests := range map[string]int{
		"Bad Request: message is not modified: specified new message content is the same": 1,
		"Bad Request: message to edit not found":                                          2,
	} {
		n := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n++
			if strings.HasSuffix(r.URL.Path, "/editMessageText") {
				w.WriteHeader(http.StatusBadRequest)
				_ = json.NewEncoder(w).Encode(map[string]any{"ok": false, "error_code": 400, "description": reason})
				return
			}
			fmt.Fprint(w, `{"ok":true,"result":{"message_id":4243}}`)
		}))
		t.Cleanup(server.Close)
		sender, _ := telegramKit(nil).sender(t, server.URL)
		m := sampleMessage()
		m.Edit = "4242"
		receipt, err := sender.Send(t.Context(), m)
		if err != nil || n != requests || receipt.ID != map[int]string{1: "4242", 2: "4243"}[requests] {
			t.Errorf("%s: %v %v, %d requests", reason, receipt, err, n)
		}
	}
}

func TestTelegramSettings(t *testing.T) {
	for name, s := range map[string]Settings{
		"no token": settings("telegram", "@fluxcd"), "no channel": settings("telegram", "", "token", secretToken), "topic": settings("telegram", "-1:x", "token", secretToken),
	} {
		if _, _, err := New(s); !errors.Is(err, ErrSettings) {
			t.Errorf("%s: %v", name, err)
		}
	}
	made, _, err := New(settings("telegram", "@fluxcd", "token", secretToken, "address", "https://evil.example"))
	if err != nil || made.(*telegram).api.String() != "https://api.telegram.org" {
		t.Error(err)
	}
}

// Services that say in their answers how long to wait.
func TestWaits(t *testing.T) {
	now := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		header, body string
		want         time.Duration
	}{
		"discord":    {"", `{"message":"You are being rate limited.","retry_after":0.65,"global":false}`, 650 * time.Millisecond},
		"telegram":   {"", `{"ok":false,"error_code":429,"parameters":{"retry_after":35}}`, 35 * time.Second},
		"zulip":      {"", `{"result":"error","code":"RATE_LIMIT_HIT","retry-after":28.7}`, 28700 * time.Millisecond},
		"matrix":     {"", `{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":2000}`, 2 * time.Second},
		"header":     {"12", `{"retry_after":3}`, 12 * time.Second},
		"date":       {"Sun, 22 Nov 2026 18:00:30 GMT", "", 30 * time.Second},
		"past":       {"Sun, 22 Nov 2026 17:00:00 GMT", "", 0},
		"negative":   {"-5", "", 0},
		"nonsense":   {"soon", "<html>", 0},
		"not finite": {"NaN", "", 0},
		"for ever":   {"1e300", "", time.Hour},
	} {
		a := answer{Header: http.Header{"Retry-After": {c.header}}, Body: []byte(c.body)}
		if got := a.wait(now); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

package provider

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Checked against the custom bot usage guide of open.larksuite.com: card messages, signatures, 20 KB, codes of errors.

type larkTextBody struct {
	Tag     string `json:"tag"`
	Content string `json:"content"`
}

type larkBody struct {
	Timestamp string `json:"timestamp"`
	Sign      string `json:"sign"`
	Type      string `json:"msg_type"`
	Card      struct {
		Config struct {
			Wide bool `json:"wide_screen_mode"`
		} `json:"config"`
		Header struct {
			Title    larkTextBody `json:"title"`
			Template string       `json:"template"`
		} `json:"header"`
		Elements []struct {
			Tag    string        `json:"tag"`
			Text   *larkTextBody `json:"text"`
			Fields []struct {
				Short bool         `json:"is_short"`
				Text  larkTextBody `json:"text"`
			} `json:"fields"`
			Actions []struct {
				Tag  string       `json:"tag"`
				Type string       `json:"type"`
				URL  string       `json:"url"`
				Text larkTextBody `json:"text"`
			} `json:"actions"`
		} `json:"elements"`
	} `json:"card"`
}

func (b larkBody) check() error {
	err := expect(want("type", b.Type, "interactive"), want("title", b.Card.Header.Title.Tag, "plain_text"), atLeast("title", len(b.Card.Header.Title.Content), 1))
	if !strings.Contains(" yellow green red blue ", " "+b.Card.Header.Template+" ") {
		err = expect(err, fmt.Errorf("template %q", b.Card.Header.Template))
	}
	for _, e := range b.Card.Elements {
		switch {
		case e.Tag == "div" && e.Text != nil:
			err = expect(err, want("text", e.Text.Tag, "plain_text"), atLeast("text", len(e.Text.Content), 1))
		case e.Tag == "div":
			err = expect(err, atLeast("fields", len(e.Fields), 1), want("field", e.Fields[0].Text.Tag, "plain_text"))
		case e.Tag == "action":
			err = expect(err, atLeast("actions", len(e.Actions), 1), want("button", e.Actions[0].Tag, "button"), want("button", e.Actions[0].Text.Tag, "plain_text"))
		default:
			err = expect(err, fmt.Errorf("element %q", e.Tag))
		}
	}
	return err
}

// checkSign does what the guide says: the key is the time, a line end and the secret, and nothing is signed.
func (b larkBody) checkSign(secret string) error {
	at, err := strconv.ParseInt(b.Timestamp, 10, 64)
	if err != nil || time.Since(time.Unix(at, 0)).Abs() > time.Hour {
		return fmt.Errorf("timestamp %q", b.Timestamp)
	}
	mac := hmac.New(sha256.New, fmt.Appendf(nil, "%v\n%s", at, secret))
	return want("sign", b.Sign, base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

func TestLark(t *testing.T) {
	for name, token := range map[string]string{"open": "", "signed": secretToken} {
		t.Run(name, func(t *testing.T) {
			s := settings("lark", "")
			if token != "" {
				s.Secret["token"] = []byte(token)
			}
			const path = "/open-apis/bot/v2/hook/secret-part-of-the-path"
			check := func(c call) (string, error) {
				var body larkBody
				err := expect(c.into(&body), atMost("message", len(c.body), 20_000), want("method", c.Method, "POST"), want("path", c.URL.Path, path), body.check())
				if token == "" {
					err = expect(err, want("sign", body.Sign, ""))
				} else {
					err = expect(err, body.checkSign(token))
				}
				return `{"code":0,"msg":"success","data":{}}`, err
			}
			kit{settings: s, path: path, check: check, inert: slackInert}.run(t)
		})
	}
}

// A vector computed apart from this code, with: printf ” | openssl dgst -sha256 -hmac $'1599360473\nsecret' -binary | base64
func TestLarkSign(t *testing.T) {
	if got := larkSign("1599360473", "secret"); got != "q4jswNiMy51J5JuQV566yJat0/lQ/c+22kINzUgKsGU=" {
		t.Error(got)
	}
}

func TestLarkRefusesWithStatus200(t *testing.T) {
	for code, final := range map[int]bool{19021: true, 9499: true, 11232: false, 99991400: false} {
		s := serve(t, func(call) (string, error) {
			return fmt.Sprintf(`{"code":%d,"msg":"sign match fail or timestamp is not within one hour"}`, code), nil
		})
		sender, _ := kit{settings: settings("lark", "")}.sender(t, s.URL)
		_, err := sender.Send(t.Context(), sampleMessage())
		_, refusal := errors.AsType[*Refusal](err)
		if _, busy := errors.AsType[*Busy](err); refusal != final || busy == final {
			t.Errorf("%d: %v", code, err)
		}
	}
}

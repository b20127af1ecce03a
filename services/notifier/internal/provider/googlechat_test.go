package provider

import (
	"fmt"
	"strings"
	"testing"
)

// Checked against google.chat.v1.Message and google.apps.card.v1.Card (github.com/googleapis/googleapis), spaces.messages.create, and the
// limit of 32,000 bytes of a message.

type googleBody struct {
	Fallback string `json:"fallbackText"`
	Thread   struct {
		Key string `json:"threadKey"`
	} `json:"thread"`
	Cards []struct {
		ID   string `json:"cardId"`
		Card struct {
			Header struct {
				Title    string `json:"title"`
				Subtitle string `json:"subtitle"`
			} `json:"header"`
			Sections []struct {
				Widgets []googleWidget `json:"widgets"`
			} `json:"sections"`
		} `json:"card"`
	} `json:"cardsV2"`
}

type googleWidget struct {
	Paragraph *struct {
		Text string `json:"text"`
	} `json:"textParagraph"`
	Decorated *struct {
		TopLabel string `json:"topLabel"`
		Text     string `json:"text"`
		Wrap     bool   `json:"wrapText"`
	} `json:"decoratedText"`
	Buttons *struct {
		Buttons []struct {
			Text    string `json:"text"`
			OnClick struct {
				OpenLink struct {
					URL string `json:"url"`
				} `json:"openLink"`
			} `json:"onClick"`
		} `json:"buttons"`
	} `json:"buttonList"`
}

func (w googleWidget) check() error {
	n := 0
	for _, there := range []bool{w.Paragraph != nil && w.Paragraph.Text != "", w.Decorated != nil && w.Decorated.Text != "" && w.Decorated.TopLabel != "", w.Buttons != nil && len(w.Buttons.Buttons) > 0} {
		if there {
			n++
		}
	}
	return want("data of a widget", n, 1)
}

func (b googleBody) check() error {
	if len(b.Cards) != 1 {
		return fmt.Errorf("%d cards", len(b.Cards))
	}
	err := expect(atLeast("card's ID", len(b.Cards[0].ID), 1), atLeast("title", len(b.Cards[0].Card.Header.Title), 1), want("thread", b.Thread.Key, incident))
	for _, section := range b.Cards[0].Card.Sections {
		err = expect(err, atLeast("widgets", len(section.Widgets), 1), atMost("widgets", len(section.Widgets), 100))
		for _, w := range section.Widgets {
			err = expect(err, w.check())
		}
	}
	return err
}

func TestGoogleChat(t *testing.T) {
	const path = "/v1/spaces/AAAA/messages"
	check := func(c call) (string, error) {
		var body googleBody
		asked := c.URL.Query()
		return `{"name":"spaces/AAAA/messages/1"}`, expect(c.into(&body), atMost("message", len(c.body), 32_000), want("method", c.Method, "POST"), want("path", c.URL.Path, path),
			want("key", asked.Get("key"), "key-of-the-api"), want("token", asked.Get("token"), secretToken), want("option", asked.Get("messageReplyOption"), "REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD"),
			want("request", asked.Get("requestId"), key), body.check())
	}
	inert := []string{"<users/all>", "<!channel>", "<at id", "<script", "](javascript:", "<javascript:"} // in the title, which is no HTML
	kit{settings: settings("googlechat", ""), path: path + "?key=key-of-the-api&token=" + secretToken, check: check, inert: inert}.run(t)
}

func TestGoogleChatEscapesHTML(t *testing.T) {
	var text string
	s := serve(t, func(c call) (string, error) {
		var body googleBody
		err := c.into(&body)
		text = body.Cards[0].Card.Sections[0].Widgets[0].Paragraph.Text
		return "{}", err
	})
	sender, _ := kit{settings: settings("googlechat", "")}.sender(t, s.URL)
	m := sampleMessage()
	m.Content.Text = `<a href="https://evil.example">x</a> & <users/all>`
	if _, err := sender.Send(t.Context(), m); err != nil || !strings.HasPrefix(text, "&lt;a href=&quot;https://evil.example&quot;&gt;x&lt;/a&gt; &amp; &lt;users/all&gt;<br>") {
		t.Errorf("%v %q", err, text)
	}
}

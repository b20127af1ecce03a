package provider

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// Checked against the client-server API of the Matrix specification (github.com/matrix-org/matrix-spec): PUT rooms/{roomId}/send,
// m.room.message, m.mentions, m.replace, and 65,536 bytes of an event.

type matrixMessage struct {
	Type      string         `json:"msgtype"`
	Body      string         `json:"body"`
	Format    string         `json:"format"`
	Formatted string         `json:"formatted_body"`
	Mentions  map[string]any `json:"m.mentions"`
}

type matrixBody struct {
	matrixMessage
	New     *matrixMessage `json:"m.new_content"`
	Relates *struct {
		Type  string `json:"rel_type"`
		Event string `json:"event_id"`
	} `json:"m.relates_to"`
}

func (m matrixMessage) check() error {
	if m.Mentions == nil || len(m.Mentions) > 0 {
		return fmt.Errorf("mentions %v", m.Mentions)
	}
	return expect(want("type", m.Type, "m.text"), want("format", m.Format, "org.matrix.custom.html"), atLeast("body", len(m.Body), 1), checkTelegramHTML(strings.ReplaceAll(m.Formatted, "<br>", "")))
}

func TestMatrix(t *testing.T) {
	const room, event = "!jezptmDwEeLapMLjOc:matrix.org", "$Fu3NtuXXlkbzTaXjqmzCDeqeTkaf"
	const path = "/_matrix/client/v3/rooms/%21jezptmDwEeLapMLjOc:matrix.org/send/m.room.message/"
	check := func(c call) (string, error) {
		var body matrixBody
		err := expect(c.into(&body), atMost("event", len(c.body), 60_000), want("method", c.Method, "PUT"), want("authorization", c.Header.Get("Authorization"), "Bearer "+secretToken), body.check())
		switch c.URL.EscapedPath() {
		case path + key:
			err = expect(err, want("new", body.New, nil))
		case path + strings.Repeat("e", 64):
			if body.New == nil || body.Relates == nil {
				return "", errors.New("no edit")
			}
			err = expect(err, want("relation", body.Relates.Type, "m.replace"), want("event", body.Relates.Event, event), body.New.check())
		default:
			err = expect(err, errors.New("path "+c.URL.EscapedPath()))
		}
		return fmt.Sprintf(`{"event_id":%q}`, event), err
	}
	kit{settings: settings("matrix", room, "token", secretToken), inSpec: true, check: check, edits: true, inert: slackInert}.run(t)
	if _, _, err := New(settings("matrix", "", "token", secretToken, "address", "https://matrix.org")); !errors.Is(err, ErrSettings) {
		t.Error(err)
	}
	if _, _, err := New(settings("matrix", room, "address", "https://matrix.org")); !errors.Is(err, ErrSettings) {
		t.Error(err)
	}
}

package provider

import (
	"context"
	"net/http"
	"net/url"
)

// matrix tells a room on a Matrix homeserver. A message's Key is its transaction, so that it is told once however often it is sent.
type matrix struct {
	*client
	server *url.URL
	room   string
	token  string
}

// matrixText is what each form of a text may have in bytes of JSON: all of an event may have 65,536, and an edit has four.
const matrixText = 12_000

func newMatrix(s Settings) (Sender, Traits, error) {
	server, err := s.address()
	if err != nil {
		return nil, Traits{}, err
	}
	token, err := s.needToken()
	if err != nil {
		return nil, Traits{}, err
	}
	room, err := s.needChannel("a room's ID, as in !name:example.org")
	// Homeservers have limits of their own, told by 429 alone.
	return &matrix{newClient(s), server, room, token}, Traits{Groups: true, Edits: true}, err
}

func (x *matrix) Send(ctx context.Context, m Message) (Receipt, error) {
	content := matrixContent(m.Content)
	if m.Edit != "" {
		content = matrixEdit(content, m.Edit)
	}
	to := x.server.JoinPath("_matrix/client/v3/rooms", url.PathEscape(x.room), "send/m.room.message", url.PathEscape(m.Key))
	var said struct {
		ID string `json:"event_id"`
	}
	if err := x.tell(ctx, query{Method: http.MethodPut, URL: to, Header: bearer(x.token), JSON: content}, &said); err != nil {
		return Receipt{}, err
	}
	if m.Edit != "" {
		return Receipt{ID: m.Edit}, nil // edits are of the first message
	}
	return Receipt{ID: said.ID}, nil
}

// matrixContent is m.room.message (spec.matrix.org/latest/client-server-api/#mroommessage). It mentions nobody, and says so.
func matrixContent(c Content) object {
	return object{
		"msgtype": "m.text", "format": "org.matrix.custom.html", "m.mentions": object{},
		"body": compose(c, plainMarkup, matrixText), "formatted_body": compose(c, htmlMarkup, matrixText),
	}
}

// matrixEdit replaces the event of that ID, with a fallback for who does not know edits.
func matrixEdit(content object, id string) object {
	return object{
		"msgtype": "m.text", "format": content["format"], "m.mentions": object{},
		"body": "* " + content["body"].(string), "formatted_body": "* " + content["formatted_body"].(string),
		"m.new_content": content, "m.relates_to": object{"rel_type": "m.replace", "event_id": id},
	}
}

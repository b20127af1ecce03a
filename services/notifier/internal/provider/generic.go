package provider

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/sluice-cd/sluice/libs/plain"
)

// newGeneric posts events as JSON.
func newGeneric(s Settings) (Sender, Traits, error) {
	return newSigned(s, nil)
}

// newGenericHMAC posts events as JSON, signed with the Secret's token.
func newGenericHMAC(s Settings) (Sender, Traits, error) {
	key := s.Secret["token"] // as it is: whoever verifies has the same bytes
	if len(key) == 0 {
		return nil, Traits{}, fmt.Errorf("%w: a Secret with key token is needed, to sign with", ErrSettings)
	}
	return newSigned(s, key)
}

func newSigned(s Settings, key []byte) (Sender, Traits, error) {
	u, err := s.address()
	if err != nil {
		return nil, Traits{}, err
	}
	header, err := s.httpHeader()
	return generic{client: newClient(s), url: u, header: header, key: key}, Traits{}, err
}

type generic struct {
	client *client
	url    *url.URL
	header http.Header // of the Secret
	key    []byte      // nil for no signature
}

// Send posts the event. Idempotency-Key is the same when it is sent again.
func (g generic) Send(ctx context.Context, m Message) (Receipt, error) {
	body, err := json.Marshal(m.Event)
	if err != nil {
		return Receipt{}, fmt.Errorf("write the event: %w", err)
	}
	header := http.Header{}
	header.Set("Gotk-Component", plain.Line(m.Event.ReportingController, maxName))
	if m.Key != "" {
		header.Set("Idempotency-Key", m.Key)
	}
	for name, values := range g.header {
		header[name] = values
	}
	if g.key != nil {
		mac := hmac.New(sha256.New, g.key)
		mac.Write(body)
		header.Set("X-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	_, err = g.client.ask(ctx, query{URL: g.url, Header: header, Body: body, Type: "application/json"})
	return Receipt{}, err
}

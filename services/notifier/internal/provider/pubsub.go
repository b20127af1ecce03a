package provider

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"

	"github.com/fluxcd/pkg/auth/gcp"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"github.com/sluice-cd/sluice/libs/githost"
)

const (
	pubSubAPI   = "https://pubsub.googleapis.com/v1"
	pubSubScope = "https://www.googleapis.com/auth/pubsub"
	cloudScope  = "https://www.googleapis.com/auth/cloud-platform"
)

// newPubSub publishes events on a topic of Google Pub/Sub by its REST interface: the library keeps a gRPC connection with batches and
// retries of its own for what is one message now and then.
func newPubSub(s Settings) (Sender, Traits, error) {
	if s.place() == "" {
		return nil, Traits{}, fmt.Errorf("%w: an address is needed, the id of the project", ErrSettings)
	}
	topic, err := s.needChannel("the id of the topic")
	if err != nil {
		return nil, Traits{}, err
	}
	attributes, err := s.headers()
	if err != nil {
		return nil, Traits{}, err
	}
	u, err := url.Parse(pubSubAPI + githost.Path("projects", s.place(), "topics", topic+":publish"))
	if err != nil {
		return nil, Traits{}, fmt.Errorf("%w: project and topic make no address", ErrSettings)
	}
	p := &pubSub{client: newClient(s), url: u, attributes: attributes}
	p.authorize, err = p.authority(s)
	return p, Traits{}, err
}

type pubSub struct {
	client     *client
	url        *url.URL
	attributes map[string]string
	authorize  authorize
}

// authority takes the credentials in JSON that the Secret's token is, or the workload's identity.
func (p *pubSub) authority(s Settings) (authorize, error) {
	if s.secret("token") == "" {
		return withCloud(s, gcp.ProviderName, cloudScope)
	}
	if s.Spec.ServiceAccountName != "" {
		return nil, fmt.Errorf("%w: a token in the Secret and spec.serviceAccountName exclude each other", ErrSettings)
	}
	g, err := newGoogleKey(p.client, s.Secret["token"])
	if err != nil {
		return nil, err
	}
	return g.authorize, nil
}

// Send publishes the event; Receipt names it.
func (p *pubSub) Send(ctx context.Context, m Message) (Receipt, error) {
	event, err := json.Marshal(m.Event)
	if err != nil {
		return Receipt{}, fmt.Errorf("write the event: %w", err)
	}
	header, err := p.authorize(ctx)
	if err != nil {
		return Receipt{}, err
	}
	message := map[string]any{"data": event}
	if len(p.attributes) > 0 {
		message["attributes"] = p.attributes
	}
	var answer struct {
		IDs []string `json:"messageIds"`
	}
	if _, err := p.client.read(ctx, query{URL: p.url, Header: header, JSON: map[string]any{"messages": []any{message}}}, &answer); err != nil {
		return Receipt{}, err
	}
	if len(answer.IDs) != 1 {
		return Receipt{}, errors.New("the service does not say that it took the message")
	}
	return Receipt{ID: answer.IDs[0]}, nil
}

// googleKey gets tokens for credentials in JSON.
type googleKey struct {
	client *client
	json   []byte
	kind   google.CredentialsType

	mu    sync.Mutex
	token *oauth2.Token
}

// newGoogleKey takes keys of service accounts and of users. Those of other kinds name files, programs and addresses of the machine that
// reads them, which is none of a Secret's business.
func newGoogleKey(c *client, data []byte) (*googleKey, error) {
	var about struct {
		Type         google.CredentialsType `json:"type"`
		Email        string                 `json:"client_email"`
		Key          string                 `json:"private_key"`
		ClientID     string                 `json:"client_id"`
		RefreshToken string                 `json:"refresh_token"`
	}
	if err := json.Unmarshal(data, &about); err != nil {
		return nil, fmt.Errorf("%w: key token of the Secret is no JSON with credentials", ErrSettings)
	}
	if about.Type != google.ServiceAccount && about.Type != google.AuthorizedUser {
		return nil, fmt.Errorf("%w: key token of the Secret has credentials of another type than service_account and authorized_user", ErrSettings)
	}
	if block, _ := pem.Decode([]byte(about.Key)); about.Type == google.ServiceAccount && (block == nil || about.Email == "") ||
		about.Type == google.AuthorizedUser && (about.ClientID == "" || about.RefreshToken == "") {
		return nil, fmt.Errorf("%w: key token of the Secret has incomplete credentials", ErrSettings)
	}
	return &googleKey{client: c, json: data, kind: about.Type}, nil
}

// authorize keeps a token as long as it lasts.
func (g *googleKey) authorize(ctx context.Context) (http.Header, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.token.Valid() {
		return bearer(g.token.AccessToken), nil
	}
	lent := &lent{client: g.client}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: lent, Timeout: g.client.timeout, CheckRedirect: checkRedirect})
	found, err := google.CredentialsFromJSONWithType(ctx, g.json, g.kind, pubSubScope)
	if err == nil {
		g.token, err = found.TokenSource.Token()
	}
	switch {
	case lent.refused != nil:
		return nil, lent.refused
	case err != nil:
		return nil, g.judge(err)
	}
	return bearer(g.token.AccessToken), nil
}

func (g *googleKey) judge(err error) error {
	said, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return fmt.Errorf("get a token for the credentials: %s", g.client.cause(err))
	}
	a := answer{Status: said.Response.StatusCode, Header: said.Response.Header, Body: said.Body}
	return g.client.judge(said.Response.Request.URL, a)
}

package verify

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/sluice-cd/sluice/libs/guard"
)

// ErrUnknown says that nobody could be asked whether a call is good: it may be, later.
var ErrUnknown = errors.New("cannot be verified now")

const (
	// issuerTime bounds one question to an issuer.
	issuerTime = 5 * time.Second
	// issuerRest is how long an issuer is left alone that could not be asked.
	issuerRest = 10 * time.Second
	// issuerLife is how long what an issuer says of itself is believed. Its keys are fetched when a token has one that is not known, though no
	// more than once in issuerRest.
	issuerLife = time.Hour
	maxIssuers = 256
	maxToken   = 16 << 10
	maxAnswer  = 1 << 20
)

// The issuers of Google's tokens, and where their keys are.
var googleIssuers = []string{"accounts.google.com", "https://accounts.google.com"}

const googleKeys = "https://www.googleapis.com/oauth2/v3/certs"

// Issuers verifies tokens that others signed. It is for concurrent use.
type Issuers struct {
	client *http.Client
	google *oidc.IDTokenVerifier

	mu    sync.Mutex
	known map[string]*issuer
}

// issuer is what is known of one: how to verify its tokens, or that it could not be asked.
type issuer struct {
	asking   sync.Mutex // held by whoever asks
	provider *oidc.Provider
	at       time.Time
	failed   error
}

// NewIssuers makes Issuers that ask over client, nil for one that keeps away from this machine and from metadata of clouds. keys is where
// Google's keys are; empty for where they really are.
func NewIssuers(client *http.Client, keys string) *Issuers {
	if client == nil {
		client = newClient()
	}
	client = resting(client)
	if keys == "" {
		keys = googleKeys
	}
	set := oidc.NewRemoteKeySet(oidc.ClientContext(context.Background(), client), keys)
	return &Issuers{
		client: client, known: map[string]*issuer{},
		google: oidc.NewVerifier("", set, &oidc.Config{SkipClientIDCheck: true, SkipIssuerCheck: true}),
	}
}

// resting is a client that asks no address too often.
func resting(client *http.Client) *http.Client {
	copied, inner := *client, client.Transport
	if inner == nil {
		inner = http.DefaultTransport
	}
	copied.Transport = &rested{RoundTripper: inner, asked: map[string]asking{}}
	return &copied
}

// newClient makes a client that follows nobody to another place and reads no more than it must.
func newClient() *http.Client {
	dialer := &net.Dialer{Timeout: issuerTime, Control: guard.Guard{}.Control}
	return &http.Client{
		Timeout:       issuerTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: capped{&http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSHandshakeTimeout: issuerTime, ResponseHeaderTimeout: issuerTime,
			MaxIdleConns: 16, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10,
		}},
	}
}

// capped cuts answers that are longer than any of an issuer.
type capped struct{ http.RoundTripper }

func (c capped) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := c.RoundTripper.RoundTrip(r)
	if err == nil {
		answer.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(answer.Body, maxAnswer), answer.Body}
	}
	return answer, err
}

// bearer is the token of a call.
func bearer(h http.Header) (string, error) {
	token, found := strings.CutPrefix(h.Get("Authorization"), "Bearer ")
	token = strings.TrimSpace(token)
	if !found || token == "" || len(token) > maxToken {
		return "", fmt.Errorf("%w: no bearer token", ErrForged)
	}
	return token, nil
}

// Google verifies a call of Google Pub/Sub: by Google's signature, for the audience, of the service account.
func (i *Issuers) Google(ctx context.Context, h http.Header, keys Keys) error {
	token, err := bearer(h)
	if err != nil {
		return err
	}
	if keys.Email == "" || keys.Audience == "" {
		return fmt.Errorf("%w: the Secret has no email or no audience", ErrForged)
	}
	if !slices.Contains(googleIssuers, issuerOf(token)) {
		return fmt.Errorf("%w: the token is of another issuer", ErrForged)
	}
	verified, err := i.verify(ctx, i.google, token)
	if err != nil {
		return err
	}
	var claims struct {
		Email    string `json:"email"`
		Verified bool   `json:"email_verified"`
	}
	if err := verified.Claims(&claims); err != nil {
		return fmt.Errorf("%w: claims", ErrForged)
	}
	switch {
	case !slices.Contains(verified.Audience, keys.Audience):
		return fmt.Errorf("%w: the token is for another audience", ErrForged)
	case subtle.ConstantTimeCompare([]byte(claims.Email), []byte(keys.Email)) != 1 || !claims.Verified:
		return fmt.Errorf("%w: the token is of another account", ErrForged)
	}
	return nil
}

// Token verifies the token of a call by the issuer that it names, if accepted says that this one counts, and for whom it must be. It returns
// the token's claims.
func (i *Issuers) Token(ctx context.Context, h http.Header, accepted func(issuer string) (audience string, ok bool)) (string, map[string]any, error) {
	token, err := bearer(h)
	if err != nil {
		return "", nil, err
	}
	name := issuerOf(token)
	audience, ok := accepted(name)
	if !ok {
		return "", nil, fmt.Errorf("%w: the token is of another issuer", ErrForged)
	}
	provider, err := i.provider(name)
	if err != nil {
		return "", nil, fmt.Errorf("%w: issuer %s: %w", ErrUnknown, name, err)
	}
	verified, err := i.verify(ctx, provider.Verifier(&oidc.Config{ClientID: audience}), token)
	if err != nil {
		return "", nil, err
	}
	claims := map[string]any{}
	if err := verified.Claims(&claims); err != nil {
		return "", nil, fmt.Errorf("%w: claims", ErrForged)
	}
	return name, claims, nil
}

// verify tells a bad token from keys that cannot be had.
func (i *Issuers) verify(ctx context.Context, v *oidc.IDTokenVerifier, token string) (*oidc.IDToken, error) {
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, i.client), issuerTime)
	defer cancel()
	verified, err := v.Verify(ctx, token)
	switch {
	case err == nil:
		return verified, nil
	case strings.Contains(err.Error(), errFresh.Error()):
		return nil, fmt.Errorf("%w: none of the issuer's keys signed the token", ErrForged)
	case ctx.Err() != nil || strings.Contains(err.Error(), "fetching keys"):
		return nil, fmt.Errorf("%w: the keys of the issuer", ErrUnknown)
	}
	return nil, fmt.Errorf("%w: the token is not good", ErrForged)
}

// issuerOf is the issuer that a token names, to find out whether it counts. Nothing else of it is looked at before it is verified.
func issuerOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(body, &claims) != nil {
		return ""
	}
	return claims.Issuer
}

// provider asks an issuer about itself, now and then. One that does not answer is left alone for a while.
func (i *Issuers) provider(name string) (*oidc.Provider, error) {
	known := i.entry(name)
	known.asking.Lock()
	defer known.asking.Unlock()
	age := time.Since(known.at)
	if known.provider != nil && age < issuerLife {
		return known.provider, nil
	}
	if known.failed != nil && age < issuerRest {
		return known.provider, errIfNone(known)
	}
	// The keys are fetched under this context as long as the provider lives; the client bounds each question.
	provider, err := oidc.NewProvider(oidc.ClientContext(context.Background(), i.client), name)
	known.at, known.failed = time.Now(), err
	if err == nil {
		known.provider = provider
	}
	return known.provider, errIfNone(known)
}

// errIfNone is why nothing is known of an issuer; nil where something is from before.
func errIfNone(known *issuer) error {
	if known.provider != nil {
		return nil
	}
	return known.failed
}

func (i *Issuers) entry(name string) *issuer {
	i.mu.Lock()
	defer i.mu.Unlock()
	known := i.known[name]
	if known == nil {
		if len(i.known) >= maxIssuers {
			clear(i.known)
		}
		known = &issuer{}
		i.known[name] = known
	}
	return known
}

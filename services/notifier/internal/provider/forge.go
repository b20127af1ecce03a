package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/sluice-cd/sluice/libs/githost"
	"github.com/sluice-cd/sluice/libs/secretdata"
)

// maxForgeAnswer is how many bytes of a git host's answer are read: a hundred comments of full length, or all of a busy pull request.
const maxForgeAnswer = 16 << 20

// forge speaks to the API of a git host about one repository. No client library does it: a host is asked for two or three things, and
// libraries try again by themselves, which is the outbox's affair, know no context or bring the whole API with them.
type forge struct {
	repository githost.Repository
	base       string // of the API
	client     *client
	authorize  authorize
}

// authorize gives the headers by which a service knows who asks.
type authorize func(context.Context) (http.Header, error)

// newForge reads the address, and prepares calls to where the host has its API.
func newForge(s Settings, kind githost.Kind, authorize authorize) (forge, error) {
	if s.place() == "" {
		return forge{}, fmt.Errorf("%w: an address is needed, that of the repository", ErrSettings)
	}
	r, err := githost.Parse(kind, s.place())
	if err != nil {
		return forge{}, fmt.Errorf("%w: %w", ErrSettings, err)
	}
	s, err = withSecretTLS(s)
	return forge{repository: r, base: r.API(kind).String(), client: newClient(s), authorize: authorize}, err
}

// withSecretTLS takes certificates from the Secret of credentials, as Flux does for git hosts, unless spec.certSecretRef names them.
func withSecretTLS(s Settings) (Settings, error) {
	if s.TLS != nil || len(s.Secret["ca.crt"]) == 0 {
		return s, nil
	}
	var err error
	if s.TLS, _, err = secretdata.TLS(s.Secret); err != nil {
		return s, fmt.Errorf("%w: Secret of spec.secretRef: %w", ErrSettings, err)
	}
	return s, nil
}

// call sends in as JSON, if there is any, and reads the answer into out, if wanted. Its errors are those of Sender.Send.
func (f forge) call(ctx context.Context, method, path string, params url.Values, in, out any) error {
	address := f.base + path
	if len(params) > 0 {
		address += "?" + params.Encode()
	}
	u, err := url.Parse(address)
	if err != nil {
		return &Refusal{Reason: "the address of the request cannot be understood"}
	}
	header, err := f.authorize(ctx)
	if err != nil {
		return err
	}
	header = header.Clone()
	header.Set("Accept", "application/json")
	a, err := f.client.ask(ctx, query{Method: method, URL: u, Header: header, JSON: in, Most: maxForgeAnswer})
	if err != nil {
		return f.judge(a, err)
	}
	if a.Status == http.StatusNonAuthoritativeInfo { // Azure DevOps' page for signing in
		return &Refusal{Status: a.Status, Reason: "the credentials are not accepted", Login: true}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(a.Body, out); err != nil {
		return fmt.Errorf("%s answered with something else than expected", f.client.hidden.host(u))
	}
	return nil
}

// judge knows what git hosts mean beyond what all services do: GitHub limits rates with 403 too, and a conflict passes by itself.
func (f forge) judge(a answer, err error) error {
	now := time.Now()
	if until, limited := githost.Limit(&http.Response{StatusCode: a.Status, Header: a.Header}, string(a.Body), now); limited {
		return &Busy{After: until.Sub(now)}
	}
	if refusal, ok := errors.AsType[*Refusal](err); ok && refusal.Status == http.StatusConflict {
		return fmt.Errorf("answered with status %d: %s", refusal.Status, refusal.Reason)
	}
	return err
}

// notThere reports whether the host said that what was asked for is not there.
func notThere(err error) bool {
	refusal, ok := errors.AsType[*Refusal](err)
	return ok && (refusal.Status == http.StatusNotFound || refusal.Status == http.StatusGone)
}

// params makes the parameters of a request from pairs.
func params(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return q
}

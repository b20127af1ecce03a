package pullrequest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/libs/githost"
)

const (
	maxAnswer      = 8 << 20 // bytes
	requestTimeout = 30 * time.Second
	perPage        = 50
	maxPages       = 10
)

// transport makes calls to one API. Credentials go to its host alone.
type transport struct {
	base      *url.URL
	client    *http.Client
	authorize func(*http.Request)
}

// newTransport takes the API's address from the settings; the drivers replace
// an empty one.
func newTransport(c Config, r githost.Repository) (*transport, error) {
	t := &transport{}
	address := c.API
	if address == "" {
		address = r.API(c.Kind).String()
	}
	base, err := url.Parse(strings.TrimSuffix(address, "/"))
	if err != nil || base.Host == "" || base.User != nil || base.RawQuery != "" {
		return nil, fmt.Errorf("%w: address of the API cannot be understood", ErrInvalid)
	}
	if base.Scheme != "https" && !(base.Scheme == "http" && c.Insecure) {
		return nil, fmt.Errorf("%w: API must be reached by https", ErrInvalid)
	}
	t.base = base
	t.authorize = authorization(c)
	t.client = &http.Client{Transport: c.Transport, Timeout: requestTimeout, CheckRedirect: sameHost}
	return t, nil
}

func authorization(c Config) func(*http.Request) {
	switch {
	case c.Kind == GitLab:
		return func(r *http.Request) { r.Header.Set("PRIVATE-TOKEN", c.Token) }
	case c.Kind == Gitea:
		return func(r *http.Request) { r.Header.Set("Authorization", "token "+c.Token) }
	case c.Kind == Azure, c.Username != "" && (c.Kind == Bitbucket || c.Kind == BitbucketServer):
		return func(r *http.Request) { r.SetBasicAuth(c.Username, c.Token) }
	}
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+c.Token) }
}

var errRedirect = errors.New("git host redirects to another host")

func sameHost(next *http.Request, via []*http.Request) error {
	if len(via) > 3 || next.URL.Host != via[0].URL.Host || next.URL.Scheme != via[0].URL.Scheme {
		return errRedirect
	}
	return nil
}

// call sends in as JSON, if there is any, and reads the answer into out, if
// wanted. The error is of the kinds of this package.
func (t *transport) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	request, err := t.request(ctx, method, path, query, in)
	if err != nil {
		return err
	}
	answer, err := t.client.Do(request)
	if err != nil {
		return unreachable(ctx, err)
	}
	defer func() { _ = answer.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("%w: read answer: %w", ErrUnavailable, err)
	case len(data) > maxAnswer:
		return fmt.Errorf("%w: answer has more than %d bytes", ErrRefused, maxAnswer)
	case answer.StatusCode >= 300:
		return failure(answer, data, time.Now())
	case out == nil || len(data) == 0:
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("%w: answer is not the JSON expected: %w", ErrUnavailable, err)
	}
	return nil
}

func (t *transport) request(ctx context.Context, method, path string, query url.Values, in any) (*http.Request, error) {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("write request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	address := t.base.String() + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "sluice")
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	t.authorize(request)
	return request, nil
}

// unreachable leaves the address out of the error; it can be long and says nothing new.
func unreachable(ctx context.Context, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	if errors.Is(err, errRedirect) {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

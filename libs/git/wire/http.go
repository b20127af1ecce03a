package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

const (
	uploadPack = "git-upload-pack"
	infoRefs   = "/info/refs"
)

// HTTPOptions describe a repository behind HTTP or HTTPS.
type HTTPOptions struct {
	// URL has neither user nor password.
	URL *url.URL
	// Client carries proxy and TLS settings; its CheckRedirect is not used.
	Client *http.Client
	// Authorize adds credentials to a request; nil for none.
	Authorize func(*http.Request)
	// Confined refuses redirects to other hosts. It must be set where a request
	// carries credentials of any kind.
	Confined bool
	// MaxBytes bounds an answer, MaxListBytes one without a pack.
	MaxBytes, MaxListBytes int64
	// Server is what an earlier Client learned, or nil.
	Server *Server
}

type httpTransport struct {
	options HTTPOptions
	client  http.Client
	base    string // where the repository is, after redirects
}

// NewHTTP returns a client; nothing is sent yet.
func NewHTTP(o HTTPOptions) *Client {
	t := &httpTransport{options: o, client: *o.Client, base: trimmed(o.URL)}
	t.client.CheckRedirect = t.checkRedirect
	if o.Server != nil && !t.leadsAway(o.Server.base) {
		t.base = o.Server.base
		return &Client{transport: t, server: o.Server, remembers: true}
	}
	return &Client{transport: t}
}

// leadsAway is true where an earlier client, which had nothing to hide, was led
// to another host than this one may go to.
func (t *httpTransport) leadsAway(base string) bool {
	u, err := url.Parse(base)
	return err != nil || t.options.Confined && !sameHost(t.options.URL, u)
}

// trimmed is the address of a repository without a final slash.
func trimmed(u *url.URL) string {
	copied := *u
	copied.User, copied.Fragment, copied.RawQuery = nil, "", ""
	return strings.TrimSuffix(copied.String(), "/")
}

func (t *httpTransport) stateless() bool { return true }
func (t *httpTransport) close() error    { return nil }

func (t *httpTransport) open(ctx context.Context) (io.ReadCloser, error) {
	request, err := t.request(ctx, http.MethodGet, trimmed(t.options.URL)+infoRefs+"?service="+uploadPack, nil)
	if err != nil {
		return nil, err
	}
	response, err := t.do(request, "application/x-"+uploadPack+"-advertisement")
	if err != nil {
		return nil, err
	}
	final := *response.Request.URL
	final.Path, final.RawPath = strings.TrimSuffix(final.Path, infoRefs), strings.TrimSuffix(final.RawPath, infoRefs)
	t.base = trimmed(&final)
	return &cappedBody{ReadCloser: response.Body, left: t.options.MaxListBytes}, nil
}

func (t *httpTransport) send(ctx context.Context, body []byte) (io.ReadCloser, error) {
	request, err := t.request(ctx, http.MethodPost, t.base+"/"+uploadPack, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-"+uploadPack+"-request")
	request.Header.Set("Accept", "application/x-"+uploadPack+"-result")
	response, err := t.do(request, "application/x-"+uploadPack+"-result")
	if err != nil {
		return nil, err
	}
	return &cappedBody{ReadCloser: response.Body, left: t.options.MaxBytes}, nil
}

func (t *httpTransport) request(ctx context.Context, method, address string, body io.Reader) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, errors.New("build the request: malformed address")
	}
	request.Header.Set("User-Agent", agent)
	request.Header.Set("Git-Protocol", "version=2")
	if t.options.Authorize != nil {
		t.options.Authorize(request)
	}
	return request, nil
}

func (t *httpTransport) do(request *http.Request, contentType string) (*http.Response, error) {
	response, err := t.client.Do(request)
	if err != nil {
		return nil, withoutURL(err)
	}
	if err := checkResponse(response, contentType); err != nil {
		_, _ = io.CopyN(io.Discard, response.Body, 4<<10) // so that the connection can serve again
		_ = response.Body.Close()
		return nil, err
	}
	return response, nil
}

// withoutURL takes the address out of an error of net/http: it may be long, and
// callers name the repository anyway.
func withoutURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

func checkResponse(response *http.Response, contentType string) error {
	switch status := response.StatusCode; {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return fmt.Errorf("%w: the server answered %d", ErrAuthentication, status)
	case status == http.StatusNotFound || status == http.StatusGone:
		return fmt.Errorf("repository %w: the server answered %d", ErrNotFound, status)
	case status >= 300 && status < 400:
		return fmt.Errorf("%w: the server answered %d", ErrRedirect, status)
	case status != http.StatusOK:
		return fmt.Errorf("the server answered %d %s", status, http.StatusText(status))
	}
	if got := response.Header.Get("Content-Type"); got != contentType {
		return fmt.Errorf("the answer is no git answer but %q", clean(got))
	}
	return nil
}

// checkRedirect follows only where a repository's first request may lead: to the
// same kind of address, never from HTTPS to HTTP, and with credentials never to
// another host.
func (t *httpTransport) checkRedirect(request *http.Request, via []*http.Request) error {
	from, to := via[0].URL, request.URL
	switch {
	case via[0].Method != http.MethodGet:
		return http.ErrUseLastResponse
	case len(via) > 5:
		return fmt.Errorf("%w: too many", ErrRedirect)
	case to.Scheme != "https" && (to.Scheme != "http" || from.Scheme == "https"):
		return fmt.Errorf("%w: to scheme %q", ErrRedirect, clean(to.Scheme))
	case !strings.HasSuffix(to.Path, infoRefs):
		return fmt.Errorf("%w: not to a repository, maybe to a login page", ErrRedirect)
	case t.options.Confined && !sameHost(from, to):
		return fmt.Errorf("%w: credentials are not taken to another host, %q", ErrRedirect, clean(to.Host))
	}
	return nil
}

// sameHost is true for the same name and port, and for the step from HTTP to
// HTTPS on their usual ports.
func sameHost(a, b *url.URL) bool {
	if !strings.EqualFold(a.Hostname(), b.Hostname()) {
		return false
	}
	upgraded := a.Scheme == "http" && b.Scheme == "https" && a.Port() == "" && b.Port() == ""
	return port(a) == port(b) || upgraded
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{"http": "80", "https": "443", "ssh": "22"}[u.Scheme]
}

// cappedBody fails once an answer is over its limit. Closing reads on for a
// little, so that the connection can serve again.
type cappedBody struct {
	io.ReadCloser
	left int64
}

func (c *cappedBody) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return 0, fmt.Errorf("the server's answer is %w", ErrTooLarge)
	}
	return n, err
}

func (c *cappedBody) Close() error {
	_, _ = io.CopyN(io.Discard, c.ReadCloser, 4<<10)
	return c.ReadCloser.Close()
}

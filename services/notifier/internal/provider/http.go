package provider

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-cd/sluice/libs/guard"
)

const (
	defaultTimeout = 15 * time.Second
	maxAnswer      = 1 << 20 // bytes of an answer that are looked at
)

// client asks one service over HTTP. Its errors are those of Sender.Send.
type client struct {
	http    *http.Client
	timeout time.Duration
	guard   guard.Guard
	hidden  hidden
	trusts  func(*http.Request) bool // the request goes to the environment's proxy
}

// newClient asks as s says, and hides secrets, beside those of s, in all its errors.
func newClient(s Settings, secrets ...string) *client {
	return newClientBehind(http.ProxyFromEnvironment, s, secrets)
}

// newClientBehind uses the proxy of the process's environment where s names none.
func newClientBehind(environment func(*http.Request) (*url.URL, error), s Settings, secrets []string) *client {
	c := &client{timeout: defaultTimeout, guard: guard.Guard{AllowLocal: s.AllowPrivate && !s.NoLocal, NoPrivate: !s.AllowPrivate}, hidden: hide(s, secrets)}
	if s.Spec.Timeout != nil && s.Spec.Timeout.Duration > 0 {
		c.timeout = s.Spec.Timeout.Duration
	}
	proxy := environment
	c.trusts = func(r *http.Request) bool {
		to, err := environment(r)
		return s.Proxy == nil && err == nil && to != nil
	}
	if s.Proxy != nil {
		proxy = http.ProxyURL(s.Proxy)
	}
	c.http = &http.Client{CheckRedirect: checkRedirect, Transport: c.transport(s, proxy)}
	return c
}

// transport keeps connections for a run's messages only: senders are made anew for each run and have no end.
func (c *client) transport(s Settings, proxy func(*http.Request) (*url.URL, error)) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, ControlContext: c.control}
	made := &http.Transport{
		Proxy: proxy, DialContext: dialer.DialContext, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: manyAtOnce, IdleConnTimeout: 5 * time.Second, MaxResponseHeaderBytes: 64 << 10,
	}
	if s.TLS != nil {
		made.TLSClientConfig = s.TLS.Clone()
	}
	return made
}

// trusted marks the context of a request that goes to the proxy of the process's environment, which no user chose.
type trusted struct{}

func (c *client) control(ctx context.Context, network, address string, conn syscall.RawConn) error {
	if ctx.Value(trusted{}) != nil {
		return nil
	}
	return c.guard.Control(network, address, conn)
}

// checkRedirect follows only where the same request reaches the same host, and never from https to http: other places must not see what
// was meant for this one, and a POST that became a GET tells nobody anything.
func checkRedirect(to *http.Request, via []*http.Request) error {
	from := via[0]
	same := to.URL.Host == from.URL.Host && to.URL.Scheme == from.URL.Scheme ||
		to.URL.Hostname() == from.URL.Hostname() && to.URL.Scheme == "https" && to.URL.Port() == "" && from.URL.Port() == ""
	if !same || to.Method != from.Method || len(via) > 3 {
		return http.ErrUseLastResponse
	}
	to.Header.Del("Referer") // the address may be a secret
	return nil
}

// ask sends q and judges the answer, which is given with a *Refusal and a *Busy too.
func (c *client) ask(ctx context.Context, q query) (answer, error) {
	c = c.knowing(q.Header)
	within, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	request, err := q.request(within)
	if err != nil {
		return answer{}, &Refusal{Reason: "make the request: " + c.hidden.clean(withoutURL(err).Error())}
	}
	if err := c.guard.CheckURL(q.URL); err != nil {
		return answer{}, &Refusal{Reason: c.hidden.clean(err.Error())}
	}
	if c.trusts(request) {
		request = request.WithContext(context.WithValue(within, trusted{}, true))
	}
	response, err := c.http.Do(request)
	if err != nil {
		return answer{}, c.unreached(ctx, q.URL, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, cmp.Or(q.Most, maxAnswer)))
	if err != nil {
		return answer{}, c.unreached(ctx, q.URL, err)
	}
	a := answer{response.StatusCode, response.Header, body}
	return a, c.judge(q.URL, a)
}

// knowing is a client that hides the credentials of a request too, which may have been issued a moment ago.
func (c *client) knowing(header http.Header) *client {
	words := c.hidden.all
	for _, name := range []string{"Authorization", "Private-Token"} {
		for _, value := range header[name] {
			_, token, _ := strings.Cut(value, " ")
			words = append(slices.Clip(words), value, token)
		}
	}
	if len(words) == len(c.hidden.all) {
		return c
	}
	known := *c
	known.hidden = newHidden(words)
	return &known
}

// read is ask, with the answer's JSON decoded into out.
func (c *client) read(ctx context.Context, q query, out any) (answer, error) {
	a, err := c.ask(ctx, q)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(a.Body, out); err != nil {
		return a, fmt.Errorf("%s answered with something else than expected", c.hidden.host(q.URL))
	}
	return a, nil
}

// tell is ask for what a service takes or refuses by its status, with the answer's JSON decoded into out as far as it is any: what was taken must
// not be sent again because something stands before the service that rewrites answers.
func (c *client) tell(ctx context.Context, q query, out any) error {
	a, err := c.ask(ctx, q)
	if err == nil {
		_ = json.Unmarshal(a.Body, out)
	}
	return err
}

// hear is ask for what a service takes or refuses by its answer's JSON, which is decoded into out.
func (c *client) hear(ctx context.Context, q query, out any) (answer, error) {
	a, err := c.ask(ctx, q)
	if err == nil && json.Unmarshal(a.Body, out) != nil {
		err = &Refusal{Status: a.Status, Reason: "answered with something else than expected"}
	}
	return a, err
}

func withoutURL(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

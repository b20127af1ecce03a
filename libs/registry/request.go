package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const maxRedirects = 5

// ask sends a request for the repository, logs in where that is asked for, and follows redirects. The answer is a success; the caller
// closes its body. path begins after the host and may have a query.
func (r *Repository) ask(ctx context.Context, method, class, path, accept string) (*http.Response, error) {
	for attempt := 0; ; attempt++ {
		authorization, err := r.authorization(ctx)
		if err != nil {
			return nil, err
		}
		response, err := r.send(ctx, method, class, path, accept, authorization)
		if err != nil {
			return nil, err
		}
		if response.StatusCode != http.StatusUnauthorized {
			return judge(r.image.Host(), response)
		}
		again := attempt == 0 && r.learn(response, authorization)
		if !again {
			return judge(r.image.Host(), response)
		}
		response.Body.Close()
	}
}

// send sends one request, and again over plain HTTP where that is allowed and the host speaks nothing else.
func (r *Repository) send(ctx context.Context, method, class, path, accept, authorization string) (*http.Response, error) {
	host := r.image.Host()
	mayPlain := r.access.Insecure || isLoopback(host)
	scheme := "https"
	if mayPlain && r.client.speaksPlain(host) {
		scheme = "http"
	}
	response, err := r.sendBy(ctx, scheme, method, class, path, accept, authorization)
	if err == nil || !mayPlain || scheme == "http" || !speaksNoTLS(err) {
		return response, err
	}
	response, plainErr := r.sendBy(ctx, "http", method, class, path, accept, authorization)
	if errors.Is(plainErr, ErrUnavailable) {
		return nil, fmt.Errorf("%w; over plain HTTP: %w", err, plainErr)
	}
	r.client.rememberPlain(host)
	return response, plainErr
}

func (r *Repository) sendBy(ctx context.Context, scheme, method, class, path, accept, authorization string) (*http.Response, error) {
	to, err := url.Parse(scheme + "://" + r.image.Host() + path)
	if err != nil {
		return nil, fmt.Errorf("%w: path of a request", ErrMalformed)
	}
	header := http.Header{}
	if accept != "" {
		header.Set("Accept", accept)
	}
	for range maxRedirects {
		if to.Host == r.image.Host() && to.Scheme == scheme && authorization != "" {
			header.Set("Authorization", authorization)
		} else {
			header.Del("Authorization")
		}
		response, err := r.client.do(ctx, r.access, r.image.Host(), class, &http.Request{Method: method, URL: to, Header: header})
		if err != nil {
			return nil, err
		}
		if !isRedirect(response.StatusCode) {
			return response, nil
		}
		response.Body.Close()
		if to, err = redirected(to, response.Header.Get("Location")); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s: %w: more than %d redirects", r.image.Host(), ErrMalformed, maxRedirects)
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

func redirected(from *url.URL, location string) (*url.URL, error) {
	to, err := from.Parse(location)
	if err != nil || location == "" || to.Host == "" {
		return nil, fmt.Errorf("%s: %w: redirect to no address", from.Host, ErrMalformed)
	}
	if to.Scheme != "https" && to.Scheme != from.Scheme {
		return nil, fmt.Errorf("%s: %w: redirect from TLS to %q", from.Host, ErrRefused, clean(to.Scheme))
	}
	to.User, to.Fragment = nil, ""
	return to, nil
}

// do sends one request under the budget of its host. registry is the host that the object names.
func (c *Client) do(ctx context.Context, a Access, registry, class string, r *http.Request) (*http.Response, error) {
	foreign := r.URL.Host != registry && !isLoopback(registry)
	if err := checkURL(r.URL, foreign); err != nil {
		return nil, err
	}
	if foreign {
		ctx = context.WithValue(ctx, elsewhere{}, true)
	}
	wait, err := c.options.Budget.Take(ctx, r.URL.Host, class)
	if err != nil {
		return nil, err
	}
	if wait > 0 {
		return nil, &Deferred{Host: r.URL.Host, Wait: wait}
	}
	if c.options.UserAgent != "" {
		r.Header.Set("User-Agent", c.options.UserAgent)
	}
	response, err := c.transports.get(a).RoundTrip(r.WithContext(ctx))
	c.count(r.URL.Host, class, response)
	if err != nil {
		return nil, unreachable(ctx, r.URL.Host, err)
	}
	return response, c.heed(ctx, r.URL.Host, class, response)
}

// unreachable words an error of a connection: without the URL, whose query may hold a token.
func unreachable(ctx context.Context, host string, err error) error {
	if errors.Is(err, ErrRefused) {
		return fmt.Errorf("%s: %w", host, err)
	}
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, ctx.Err()) {
		return fmt.Errorf("%s: %w: %w", host, ErrUnavailable, cause)
	}
	return fmt.Errorf("%s: %w: %w", host, ErrUnavailable, err)
}

func (c *Client) count(host, class string, response *http.Response) {
	outcome := "error"
	if response != nil {
		outcome = fmt.Sprintf("%dxx", response.StatusCode/100)
		if response.StatusCode == http.StatusTooManyRequests {
			outcome = "429"
		}
	}
	c.requests.WithLabelValues(c.options.HostLabel(host), class, outcome).Inc()
}

// heed tells the budget what the answer says of limits. An answer that could not be told to the budget is none: the next request
// must not go out as if nothing had been said.
func (c *Client) heed(ctx context.Context, host, class string, r *http.Response) error {
	now := time.Now()
	q, hasQuota := readQuota(r.Header, now)
	wait := retryAfter(r.Header, now)
	blocked := ""
	switch refused := r.StatusCode == http.StatusTooManyRequests || r.StatusCode == http.StatusServiceUnavailable && wait > 0; {
	case refused && wait > 0:
	case refused && hasQuota && q.pauseFor() > 0:
		wait, blocked = q.pauseFor(), class
	case refused:
		wait = 0
	case hasQuota && q.pauseFor() > 0:
		wait, blocked = q.pauseFor(), class // the quota may be one of pulls alone
	default:
		return nil
	}
	if err := c.options.Budget.Block(ctx, host, blocked, wait); err != nil {
		r.Body.Close()
		return err
	}
	return nil
}

// judge makes an error of an answer that is no success, and closes its body then.
func judge(host string, r *http.Response) (*http.Response, error) {
	if r.StatusCode == http.StatusOK {
		return r, nil
	}
	defer r.Body.Close()
	return nil, newError(host, r)
}

// path is that of something in the repository.
func (r *Repository) path(parts ...string) string {
	return "/v2/" + r.image.Path() + "/" + strings.Join(parts, "/")
}

package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"
)

// authorization is the header that the registry wants, as far as it is known; empty for none.
func (r *Repository) authorization(ctx context.Context) (string, error) {
	login, err := r.access.login(ctx)
	if err != nil {
		return "", err
	}
	if login.RegistryToken != "" {
		return "Bearer " + login.RegistryToken, nil
	}
	how, known := r.learnt()
	switch {
	case !known:
		return "", nil
	case how.bearer:
		token, err := r.token(ctx, how, login)
		return "Bearer " + token, err
	case login.Username == "" && login.Password == "":
		return "", nil
	}
	return "Basic " + basic(login), nil
}

func basic(l Login) string {
	return base64.StdEncoding.EncodeToString([]byte(l.Username + ":" + l.Password))
}

func (r *Repository) learnt() (challenge, bool) {
	r.client.mu.Lock()
	defer r.client.mu.Unlock()
	how, known := r.client.learnt[r.learntKey()]
	return how, known
}

func (r *Repository) learntKey() string { return r.image.Host() + "\x00" + r.access.credentialID() }

// learn reads from a 401 how to ask, and says whether asking again may help. sent is the header that was refused.
func (r *Repository) learn(response *http.Response, sent string) bool {
	how, ok := parseChallenge(response.Header, r.image.Path())
	if !ok || !how.bearer && sent != "" || !how.bearer && r.access.Credential == nil {
		return false
	}
	before, known := r.learnt()
	if how.bearer && sent != "" {
		r.client.tokens.drop(r.tokenKey(before))
		if !known {
			return false // the credential is itself a token, which is refused
		}
	}
	r.client.mu.Lock()
	defer r.client.mu.Unlock()
	if len(r.client.learnt) >= maxLearnt {
		clear(r.client.learnt)
	}
	r.client.learnt[r.learntKey()] = how
	return true
}

func (r *Repository) tokenKey(how challenge) string {
	return strings.Join([]string{r.access.credentialID(), r.image.Host(), r.image.Path(), how.realm, how.service, how.actions}, "\x00")
}

// token returns a token of the registry's token service, as long as one lasts the same.
func (r *Repository) token(ctx context.Context, how challenge, login Login) (string, error) {
	return r.client.tokens.get(ctx, r.tokenKey(how), func(ctx context.Context) (string, time.Time, error) {
		request, err := r.tokenRequest(how, login)
		if err != nil {
			return "", time.Time{}, err
		}
		response, err := r.client.do(ctx, r.access, r.image.Host(), classToken, request)
		if err != nil {
			return "", time.Time{}, err
		}
		if response, err = judge(request.URL.Host, response); err != nil {
			return "", time.Time{}, err
		}
		defer response.Body.Close()
		return readToken(request.URL.Host, response.Body, time.Now())
	})
}

// tokenRequest asks for a token with the login, where the token service may have that.
func (r *Repository) tokenRequest(how challenge, login Login) (*http.Request, error) {
	realm, err := url.Parse(how.realm)
	if err != nil || realm.Host == "" {
		return nil, fmt.Errorf("%s: %w: its token service has no address", r.image.Host(), ErrMalformed)
	}
	plain := r.access.Insecure || isLoopback(r.image.Host())
	if realm.Scheme != "https" && !(plain && realm.Scheme == "http") {
		return nil, fmt.Errorf("%s: %w: its token service %s does not speak TLS", r.image.Host(), ErrRefused, clean(realm.Host))
	}
	if !login.empty() && !r.client.mayHaveLogin(realm, r.image.Host()) {
		return nil, fmt.Errorf("%s: %w: its token service %s is on another domain and gets no credential; the setting for hosts of token services allows it",
			r.image.Host(), ErrRefused, clean(realm.Host))
	}
	realm.User, realm.Fragment = nil, ""
	query := realm.Query()
	if how.service != "" {
		query.Set("service", how.service)
	}
	scopes := []string{"repository:" + r.image.Path() + ":pull"}
	if how.actions != "" {
		scopes = append(scopes, "repository:"+r.image.Path()+":"+how.actions)
	}
	if login.IdentityToken != "" {
		return exchange(realm, how.service, scopes, login.IdentityToken), nil
	}
	query["scope"] = scopes
	realm.RawQuery = query.Encode()
	request := &http.Request{Method: http.MethodGet, URL: realm, Header: http.Header{}}
	if login.Username != "" || login.Password != "" {
		request.Header.Set("Authorization", "Basic "+basic(login))
	}
	return request, nil
}

// exchange asks for a token in return for an identity token.
func exchange(realm *url.URL, service string, scopes []string, identity string) *http.Request {
	form := url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {identity}, "service": {service}, "scope": {strings.Join(scopes, " ")}, "client_id": {"sluice"},
	}.Encode()
	return &http.Request{
		Method: http.MethodPost, URL: realm, Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
		Body: io.NopCloser(strings.NewReader(form)), ContentLength: int64(len(form)),
	}
}

// mayHaveLogin says whether a token service may have the login for a registry.
func (c *Client) mayHaveLogin(realm *url.URL, registry string) bool {
	if realm.Host == registry || domain(realm.Host) == domain(registry) {
		return true
	}
	for _, pattern := range c.options.TokenHosts {
		if ok, err := path.Match(pattern, realm.Hostname()); err == nil && ok {
			return true
		}
	}
	return false
}

// domain is what a host's owner registered, with all that belongs to it; the host itself where there is none, as for an address.
func domain(host string) string {
	u := url.URL{Host: host}
	if registered, err := publicsuffix.EffectiveTLDPlusOne(u.Hostname()); err == nil && strings.Contains(registered, ".") && !isAddress(u.Hostname()) {
		return registered
	}
	return u.Hostname()
}

// Tokens last a minute unless the service says otherwise, which counts up to an hour.
const (
	defaultTokenLife = time.Minute
	maxTokenLife     = time.Hour
)

func readToken(host string, body io.Reader, now time.Time) (string, time.Time, error) {
	data, err := readBounded(body, 1<<20)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("%s: read token: %w", host, err)
	}
	var answer struct {
		Token       string  `json:"token"`
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
	}
	if json.Unmarshal(data, &answer) != nil { // the error may quote the token
		return "", time.Time{}, fmt.Errorf("%s: %w: the token service's answer is not JSON", host, ErrMalformed)
	}
	token := answer.Token
	if token == "" {
		token = answer.AccessToken
	}
	if token == "" || strings.ContainsAny(token, "\r\n") {
		return "", time.Time{}, fmt.Errorf("%s: %w: the token service's answer has no token", host, ErrMalformed)
	}
	life := defaultTokenLife
	if d := bounded(answer.ExpiresIn); d > 0 {
		life = min(d, maxTokenLife)
	}
	return token, now.Add(life - life/10), nil
}

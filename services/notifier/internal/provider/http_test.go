package provider

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func parse(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestRedirectsWithinTheHost(t *testing.T) {
	s := serve(t, func(c call) (string, error) {
		return "", expect(want("body", string(c.body), `{"a":"b"}`), want("authorization", c.Header.Get("Authorization"), "Bearer "+secretToken), want("referer", c.Referer(), ""))
	})
	moved := http.NewServeMux()
	moved.HandleFunc("/old", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/new", http.StatusPermanentRedirect)
	})
	moved.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/loop", http.StatusTemporaryRedirect)
	})
	moved.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/new", http.StatusFound) })
	check := s.Config.Handler
	moved.Handle("/new", check)
	s.Config.Handler = moved
	c := newClient(Settings{AllowPrivate: true})
	for path, taken := range map[string]bool{"/old": true, "/loop": false, "/get": false} {
		_, err := c.ask(t.Context(), query{URL: parse(t, s.URL+path), Header: bearer(secretToken), JSON: map[string]string{"a": "b"}})
		if (err == nil) != taken {
			t.Errorf("%s: %v", path, err)
		}
	}
	if n := len(s.taken()); n != 1 {
		t.Errorf("%d requests arrived", n)
	}
}

func TestCheckRedirect(t *testing.T) {
	for to, followed := range map[string]bool{
		"https://a.example/x": true, "https://a.example/y?z": true, "http://a.example/x": false, "https://b.example/x": false, "https://a.example:444/x": false, "https://a.example.evil.example/": false,
	} {
		first := httptest.NewRequest(http.MethodPost, "https://a.example/start", nil)
		if err := checkRedirect(httptest.NewRequest(http.MethodPost, to, nil), []*http.Request{first}); (err == nil) != followed {
			t.Errorf("%s: %v", to, err)
		}
	}
	plain := httptest.NewRequest(http.MethodPost, "http://a.example/start", nil)
	if err := checkRedirect(httptest.NewRequest(http.MethodPost, "https://a.example/start", nil), []*http.Request{plain}); err != nil {
		t.Error("https instead of http is not followed")
	}
}

func TestAddressesThatAreRefused(t *testing.T) {
	s := serve(t, func(call) (string, error) { return "", nil })
	byName := strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	for address, allowed := range map[string]struct{ outside, private bool }{
		s.URL: {false, true}, byName: {false, true}, "http://169.254.169.254/latest/meta-data": {false, false}, "http://[fe80::1]/": {false, false}, "http://[fd00:ec2::254]/": {false, false}, "http://10.255.255.1:9/": {false, true},
	} {
		for private, want := range map[bool]bool{false: allowed.outside, true: allowed.private} {
			if want && strings.Contains(address, "10.255") {
				continue // nobody is there to answer
			}
			_, err := newClient(Settings{AllowPrivate: private}).ask(t.Context(), query{URL: parse(t, address)})
			if _, refused := errors.AsType[*Refusal](err); (err == nil) != want || refused == want {
				t.Errorf("%s with private ones %v: %v", address, private, err)
			}
		}
	}
}

func TestProxies(t *testing.T) {
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.String()+" "+r.Header.Get("Proxy-Authorization"))
		w.WriteHeader(http.StatusProxyAuthRequired)
		fmt.Fprint(w, "user:", secretPassword)
	}))
	t.Cleanup(proxy.Close)
	to := query{URL: parse(t, "http://chat.example/hook")}
	own := parse(t, proxy.URL)
	own.User = url.UserPassword("user", secretPassword)
	_, err := newClient(Settings{Proxy: own, AllowPrivate: true}).ask(t.Context(), to)
	if len(asked) != 1 || !strings.HasPrefix(asked[0], "http://chat.example/hook Basic ") || err == nil || strings.Contains(err.Error(), secretPassword) {
		t.Errorf("%q %v", asked, err)
	}
	_, err = newClient(Settings{Proxy: own}).ask(t.Context(), to)
	if _, ok := errors.AsType[*Refusal](err); !ok || len(asked) != 1 {
		t.Errorf("a proxy that a user chose leads to this machine: %q %v", asked, err)
	}
	environment := http.ProxyURL(parse(t, proxy.URL))
	_, err = newClientBehind(environment, Settings{}, nil).ask(t.Context(), to)
	if len(asked) != 2 || err == nil {
		t.Errorf("the environment's proxy is not used: %q %v", asked, err)
	}
	_, err = newClientBehind(environment, Settings{}, nil).ask(t.Context(), query{URL: parse(t, "http://169.254.169.254/")})
	if _, ok := errors.AsType[*Refusal](err); !ok || len(asked) != 2 {
		t.Errorf("a proxy is asked for metadata: %q %v", asked, err)
	}
}

func TestTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	q := query{URL: parse(t, server.URL)}
	if _, err := newClient(Settings{AllowPrivate: true, TLS: &tls.Config{RootCAs: pool}}).ask(t.Context(), q); err != nil {
		t.Error(err)
	}
	_, err := newClient(Settings{AllowPrivate: true}).ask(t.Context(), q)
	if _, refusal := errors.AsType[*Refusal](err); err == nil || refusal || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
}

func TestAnswersAreCapped(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.Copy(w, io.LimitReader(zeros{}, 5<<20))
	}))
	t.Cleanup(s.Close)
	a, err := newClient(Settings{AllowPrivate: true}).ask(t.Context(), query{URL: parse(t, s.URL)})
	if err != nil || len(a.Body) != maxAnswer {
		t.Errorf("%d bytes, %v", len(a.Body), err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestReasons(t *testing.T) {
	c := newClient(Settings{})
	for body, want := range map[string]string{
		`{"message":"Unknown Webhook","code":10015}`:                   "Unknown Webhook",
		`{"ok":false,"error_code":400,"description":"Bad Request: x"}`: "Bad Request: x",
		`{"result":"error","msg":"Channel does not exist"}`:            "Channel does not exist",
		`{"error":{"code":400,"message":"Invalid JSON payload"}}`:      "Invalid JSON payload",
		`{"errors":["API key required","x"]}`:                          "API key required x",
		`{"detail":"bad sentry DSN public key"}`:                       "bad sentry DSN public key",
		"invalid_token\n":                                              "invalid_token",
		"<html><body>nginx</body></html>":                              "bad request",
		"":                                                             "bad request",
		"a\x00\x1b[31mb\nc":                                            "a[31mb c",
		`["a"]`:                                                        `["a"]`,
		strings.Repeat("x", 5000):                                      strings.Repeat("x", longestReason-1) + "…",
	} {
		if got := c.reason(answer{Status: 400, Body: []byte(body)}); got != want {
			t.Errorf("%.50q: %q", body, got)
		}
	}
}

func TestHidden(t *testing.T) {
	s := settings("generic", "", "address", "https://hooks.example.org:8443/services/T0001/B0001/abcdefghij?sig=klmnop%2Fqrst", "token", secretToken, "password", secretPassword, "username", "robot",
		"headers", "Authorization: ApiKey 0123456789\nX-Other: 'quoted value'\n", "short", "ab")
	s.Spec.Address = "https://chat.example/ignored"
	s.Proxy = parse(t, "http://proxyuser:proxypass@proxy.example:3128")
	h := hide(s, []string{"one more secret/with slash"})
	for said, want := range map[string]string{
		"dial hooks.example.org failed":                           "dial *** failed",
		"POST /services/T0001/B0001/abcdefghij?sig=klmnop%2Fqrst": "POST ***",
		"sig klmnop/qrst or klmnop%2Fqrst":                        "sig *** or ***",
		"abcdefghij":                                              "***",
		"Bearer " + secretToken:                                   "Bearer ***",
		"ApiKey 0123456789 and quoted value":                      "*** and ***",
		basic("robot", secretPassword):                            "Basic ***",
		basic("proxyuser", "proxypass"):                           "Basic ***",
		"robot says ab":                                           "robot says ab",
		"proxypass":                                               "***",
		"one+more+secret%2Fwith+slash":                            "***",
	} {
		if got := h.clean(said); got != want {
			t.Errorf("%q: %q", said, got)
		}
	}
	if got := h.host(parse(t, "https://hooks.example.org:8443/x")); got != "the service at the Secret's address" {
		t.Error(got)
	}
	if got := h.host(parse(t, "https://other.example/x")); got != "other.example" {
		t.Error(got)
	}
}

// TestAnswersThatCannotBeRead: who says by its status that it took a message took it, whatever stands in the answer; who says so in the answer did not.
func TestAnswersThatCannotBeRead(t *testing.T) {
	for name, k := range map[string]kit{
		"discord":  {settings: settings("discord", ""), path: "/api/webhooks/1/x"},
		"telegram": {settings: settings("telegram", "1", "token", secretToken)},
		"zulip":    {settings: settings("zulip", "general/alerts", "username", "bot@example.org", "password", secretPassword)},
		"matrix":   {settings: settings("matrix", "!room:example.org", "token", secretToken)},
		"slack":    {settings: settings("slack", "general", "token", secretToken), path: "/api/chat.postMessage", inSpec: true},
		"lark":     {settings: settings("lark", ""), path: "/open-apis/bot/v2/hook/x"},
	} {
		s := serve(t, func(call) (string, error) { return "<html>rewritten</html>", nil })
		sender, _ := k.sender(t, s.URL)
		if bot, ok := sender.(*telegram); ok {
			bot.api = parse(t, s.URL)
		}
		receipt, err := sender.Send(t.Context(), sampleMessage())
		if inAnswer := name == "slack" || name == "lark"; isRefusal(err) != inAnswer || !inAnswer && err != nil || receipt.ID != "" {
			t.Errorf("%s: %+v, %v", name, receipt, err)
		}
	}
}

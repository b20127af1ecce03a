package git

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/proxy"

	"github.com/sluice-cd/sluice/libs/git/wire"
)

// maxTransports bounds the number of pools of connections. There is one for
// each combination of authority, client certificate and proxy: for most
// installations one in all.
const maxTransports = 64

// connect prepares a client; nothing is sent yet.
func (m *Mirrors) connect(u *url.URL, src Source, server *wire.Server) (*wire.Client, error) {
	auth := src.Auth
	if err := auth.check(u); err != nil {
		return nil, err
	}
	if err := m.checkSecure(u); err != nil {
		return nil, err
	}
	if u.Scheme == "ssh" {
		return m.connectSSH(u, auth)
	}
	transport, err := m.transport(auth)
	if err != nil {
		return nil, err
	}
	return wire.NewHTTP(wire.HTTPOptions{
		URL: u, Client: &http.Client{Transport: transport}, Authorize: auth.authorize(),
		Confined: src.confined || auth.confined(), MaxBytes: m.limits.PackBytes, MaxListBytes: m.limits.ListBytes, Server: server,
	}), nil
}

func (m *Mirrors) checkSecure(u *url.URL) error {
	if u.Scheme == "http" && !matches(m.insecure, u.Hostname()) {
		return fmt.Errorf("%w: plain HTTP is not allowed for host %q in this installation", ErrURLInvalid, u.Hostname())
	}
	return nil
}

// HTTPClient is for other requests than git's to the host of a repository: it
// trusts the same authorities and uses the same proxy. It adds no credentials,
// but shows the client certificate.
func (m *Mirrors) HTTPClient(u *url.URL, auth Auth) (*http.Client, error) {
	if err := m.checkSecure(u); err != nil {
		return nil, err
	}
	transport, err := m.transport(auth)
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: transport}, nil
}

func (a Auth) authorize() func(*http.Request) {
	return func(r *http.Request) {
		switch {
		case a.BearerToken != "":
			r.Header.Set("Authorization", "Bearer "+a.BearerToken)
		case a.Username != "" || a.Password != "":
			r.SetBasicAuth(a.Username, a.Password)
		}
	}
}

func (m *Mirrors) connectSSH(u *url.URL, auth Auth) (*wire.Client, error) {
	signer, err := auth.signer()
	if err != nil {
		return nil, err
	}
	dial, err := auth.dialer()
	if err != nil {
		return nil, err
	}
	return wire.NewSSH(wire.SSHOptions{
		URL: u, Signer: signer, KnownHosts: auth.KnownHosts, MaxBytes: m.limits.PackBytes + m.limits.ListBytes, Dial: dial,
	}), nil
}

// dialer is nil without a proxy.
func (a Auth) dialer() (func(ctx context.Context, network, address string) (net.Conn, error), error) {
	if a.Proxy == "" {
		return nil, nil
	}
	u, err := url.Parse(a.Proxy)
	if err != nil {
		return nil, errMalformedProxy
	}
	dialer, err := proxy.FromURL(u, &net.Dialer{})
	if err != nil {
		return nil, fmt.Errorf("%w: SSH needs a SOCKS5 proxy", ErrAuthentication)
	}
	contextual, ok := dialer.(proxy.ContextDialer)
	if !ok {
		return nil, fmt.Errorf("%w: SSH needs a SOCKS5 proxy", ErrAuthentication)
	}
	return contextual.DialContext, nil
}

var errMalformedProxy = fmt.Errorf("%w: malformed address of the proxy", ErrAuthentication)

// transport returns the pool of connections that fits. Credentials are no part
// of it: they travel with each request.
func (m *Mirrors) transport(auth Auth) (*http.Transport, error) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q", auth.CA, auth.ClientCert, auth.ClientKey, auth.Proxy))
	key := hex.EncodeToString(sum[:])
	m.mu.Lock()
	defer m.mu.Unlock()
	if known, ok := m.transports[key]; ok {
		return known, nil
	}
	transport, err := auth.newTransport()
	if err != nil {
		return nil, err
	}
	for other, old := range m.transports {
		if len(m.transports) < maxTransports {
			break
		}
		old.CloseIdleConnections()
		delete(m.transports, other)
	}
	m.transports[key] = transport
	return transport, nil
}

func (a Auth) newTransport() (*http.Transport, error) {
	config, err := a.tlsConfig()
	if err != nil {
		return nil, err
	}
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: 15 * time.Second,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     90 * time.Second,
	}
	if a.Proxy != "" {
		u, err := url.Parse(a.Proxy)
		if err != nil {
			return nil, errMalformedProxy
		}
		t.Proxy = http.ProxyURL(u)
	}
	return t, nil
}

func (a Auth) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(a.CA) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(a.CA) {
			return nil, fmt.Errorf("%w: 'ca.crt' holds no certificate", ErrAuthentication)
		}
		config.RootCAs = pool
	}
	if len(a.ClientCert) > 0 {
		pair, err := tls.X509KeyPair(a.ClientCert, a.ClientKey)
		if err != nil {
			return nil, errors.Join(ErrAuthentication, errors.New("'tls.crt' and 'tls.key' are no pair"))
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

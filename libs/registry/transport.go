package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"syscall"
	"time"
)

// maxTransports bounds the pools of connections for certificates and proxies of objects.
const maxTransports = 200

// transports keeps pools of connections by certificate and proxy.
type transports struct {
	perHost int
	mu      sync.Mutex
	known   map[string]*http.Transport
}

// newTransports keeps up to perHost idle connections to each host.
func newTransports(perHost int) *transports {
	return &transports{perHost: perHost, known: map[string]*http.Transport{}}
}

func (t *transports) get(a Access) *http.Transport {
	key := a.TLSID
	if a.Proxy != nil {
		key += "\x00" + a.Proxy.String()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if found, ok := t.known[key]; ok {
		return found
	}
	if len(t.known) >= maxTransports {
		for _, old := range t.known {
			old.CloseIdleConnections()
		}
		clear(t.known)
	}
	made := t.make(a)
	t.known[key] = made
	return made
}

func (t *transports) make(a Access) *http.Transport {
	proxy := http.ProxyFromEnvironment
	if a.Proxy != nil {
		proxy = http.ProxyURL(a.Proxy)
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second, ControlContext: checkAddress}
	made := &http.Transport{
		Proxy: proxy, DialContext: dialer.DialContext, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 30 * time.Second,
		MaxIdleConns: 256, MaxIdleConnsPerHost: t.perHost, IdleConnTimeout: 90 * time.Second, ForceAttemptHTTP2: true,
		MaxResponseHeaderBytes: 256 << 10,
	}
	if a.TLS != nil {
		made.TLSClientConfig = a.TLS.Clone()
	}
	return made
}

// elsewhere marks the context of a request that is not for the host that the object names, but for one that a registry named.
type elsewhere struct{}

// checkAddress refuses connections to addresses that no registry has: link-local ones, where clouds answer with secrets, and,
// unless the object names it itself, this machine.
func checkAddress(ctx context.Context, _, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("address %s: %w", address, err)
	}
	if err := checkIP(at.Addr().Unmap(), ctx.Value(elsewhere{}) != nil); err != nil {
		return fmt.Errorf("%w: %s", err, at.Addr())
	}
	return nil
}

// ec2Metadata is the one address of this sort outside link-local.
var ec2Metadata = netip.MustParseAddr("fd00:ec2::254")

func checkIP(ip netip.Addr, elsewhere bool) error {
	switch {
	case ip.IsLinkLocalUnicast(), ip.IsMulticast(), ip == ec2Metadata:
		return fmt.Errorf("%w: an address where no registry is", ErrRefused)
	case elsewhere && (ip.IsLoopback() || ip.IsUnspecified()):
		return fmt.Errorf("%w: a registry names an address of this machine", ErrRefused)
	}
	return nil
}

// checkURL is checkAddress for a URL that a registry named, for connections that exist and proxies.
func checkURL(u *url.URL, foreign bool) error {
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		return checkIP(ip.Unmap(), foreign)
	}
	if foreign && isLoopback(u.Host) {
		return fmt.Errorf("%w: a registry names an address of this machine", ErrRefused)
	}
	return nil
}

// speaksNoTLS says whether an error of the first request to a host means that it speaks plain HTTP, or nothing on that port.
func speaksNoTLS(err error) bool {
	var record tls.RecordHeaderError
	return errors.As(err, &record) && string(record.RecordHeader[:]) == "HTTP/" || errors.Is(err, syscall.ECONNREFUSED)
}

// readBounded reads a body of at most n bytes.
func readBounded(body io.Reader, n int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(body, n+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > n {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrMalformed, n)
	}
	return data, nil
}

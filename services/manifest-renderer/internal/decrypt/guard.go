package decrypt

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// guardError refuses a connection.
type guardError struct{ address netip.Addr }

func (e *guardError) Error() string {
	return fmt.Sprintf("connections to %s are refused: it is this machine, or serves its metadata", e.address)
}

// guardedClient connects to no address that only this machine reaches: where
// services of a pod listen that trust it, and clouds give out credentials. The
// address of a Vault comes from an encrypted file, and so from whoever can write
// to the source.
func guardedClient() *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("parse address: %w", err)
		}
		return guard(at.Addr().Unmap())
	}}
	return &http.Client{Timeout: keyTime, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: 10 * time.Second, DisableKeepAlives: true,
	}}
}

// metadataV6 is where AWS serves a machine's metadata by IPv6.
var metadataV6 = netip.MustParseAddr("fd00:ec2::254")

func guard(a netip.Addr) error {
	if a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified() || a.IsMulticast() || a.WithZone("") == metadataV6 {
		return &guardError{a}
	}
	return nil
}

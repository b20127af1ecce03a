// Package guard keeps connections whose address somebody else wrote from going where only this machine reaches: services of a pod listen
// there that trust it, and clouds give out credentials.
package guard

import (
	"fmt"
	"net/netip"
	"net/url"
	"syscall"
)

// Error refuses a connection.
type Error struct{ Address netip.Addr }

func (e *Error) Error() string {
	return fmt.Sprintf("connections to %s are refused: it %s", e.Address, e.what())
}

func (e *Error) what() string {
	if e.Address.IsPrivate() || shared.Contains(e.Address) {
		return "is in a private network"
	}
	return "is this machine, or serves its metadata"
}

// Guard judges addresses at the moment of connecting, after names were looked up. The zero value is ready for use: it refuses this machine,
// link-local and multicast addresses, and where clouds serve metadata.
type Guard struct {
	// Allow are addresses that are let through all the same.
	Allow []netip.Prefix
	// AllowLocal lets this machine's own addresses through.
	AllowLocal bool
	// NoPrivate refuses private networks too.
	NoPrivate bool
}

// Control is for net.Dialer.
func (g Guard) Control(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("parse address: %w", err)
	}
	return g.Check(at.Addr())
}

// CheckURL refuses an address that is written as such: behind a proxy no connection to it would be judged.
func (g Guard) CheckURL(u *url.URL) error {
	a, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		return nil
	}
	return g.Check(a)
}

// metadata are the services beside the link-local one in which clouds tell a machine about itself: of AWS by IPv6, Azure, Oracle and Alibaba.
var metadata = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("168.63.129.16"), netip.MustParseAddr("192.0.0.192"), netip.MustParseAddr("100.100.100.200"),
}

// translated are the networks in whose addresses the last four bytes are one of IPv4.
var translated = netip.MustParsePrefix("64:ff9b::/96")

// shared is the network of providers' own addresses (RFC 6598), which clouds use within.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// Check judges one address.
func (g Guard) Check(a netip.Addr) error {
	a = plain(a)
	for _, allowed := range g.Allow {
		if allowed.Contains(a) {
			return nil
		}
	}
	local := a.IsLoopback() || a.IsUnspecified() || a.Is4() && a.As4()[0] == 0 // "this network": Linux takes it for this machine
	private := a.IsPrivate() || shared.Contains(a)
	if a.IsLinkLocalUnicast() || a.IsMulticast() || local && !g.AllowLocal || private && g.NoPrivate {
		return &Error{a}
	}
	for _, m := range metadata {
		if a == m {
			return &Error{a}
		}
	}
	return nil
}

// plain is the address that is really meant.
func plain(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if translated.Contains(a) {
		b := a.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return a
}

package guard

import (
	"net/netip"
	"net/url"
	"testing"
)

func TestCheck(t *testing.T) {
	g := Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}}
	for address, refused := range map[string]bool{
		"127.0.0.1": true, "127.8.8.8": true, "::1": true, "::ffff:127.0.0.1": true, "169.254.169.254": true, "fe80::1%eth0": true,
		"fd00:ec2::254": true, "0.0.0.0": true, "0.1.2.3": true, "::": true, "224.0.0.1": true, "64:ff9b::7f00:1": true, "64:ff9b::a9fe:a9fe": true,
		"168.63.129.16": true, "100.100.100.200": true, "192.0.0.192": true,
		"10.0.0.1": false, "192.168.1.1": false, "93.184.216.34": false, "2606:4700::1": false, "127.0.0.2": false, "fd00::1": false,
	} {
		if err := g.Check(netip.MustParseAddr(address)); (err != nil) != refused {
			t.Errorf("%s: %v", address, err)
		}
		if err := g.Control("tcp", netip.AddrPortFrom(netip.MustParseAddr(address), 80).String(), nil); (err != nil) != refused {
			t.Errorf("%s: %v", address, err)
		}
	}
	if err := g.Control("tcp", "example.org:80", nil); err == nil {
		t.Error("a name is taken for an address")
	}
}

func TestChoices(t *testing.T) {
	for address, want := range map[string]struct{ local, outside bool }{ // refused by each
		"127.0.0.1": {false, true}, "0.0.0.0": {false, true}, "::1": {false, true},
		"10.1.2.3": {false, true}, "172.16.0.1": {false, true}, "192.168.0.1": {false, true}, "100.64.0.1": {false, true}, "fd12::1": {false, true},
		"::ffff:10.0.0.1": {false, true}, "64:ff9b::a00:1": {false, true},
		"169.254.169.254": {true, true}, "fe80::1": {true, true}, "100.100.100.200": {true, true}, "fd00:ec2::254": {true, true}, "ff02::1": {true, true},
		"93.184.216.34": {false, false}, "2606:4700::1": {false, false},
	} {
		a := netip.MustParseAddr(address)
		if err := (Guard{AllowLocal: true}).Check(a); (err != nil) != want.local {
			t.Errorf("%s with this machine allowed: %v", address, err)
		}
		if err := (Guard{NoPrivate: true}).Check(a); (err != nil) != want.outside {
			t.Errorf("%s without private networks: %v", address, err)
		}
	}
}

func TestCheckURL(t *testing.T) {
	for address, refused := range map[string]bool{
		"http://169.254.169.254/latest": true, "http://[::1]:80/": true, "http://[fe80::1%25eth0]/": true, "http://example.org/": false, "http://93.184.216.34/": false,
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if err := (Guard{}).CheckURL(u); (err != nil) != refused {
			t.Errorf("%s: %v", address, err)
		}
	}
}

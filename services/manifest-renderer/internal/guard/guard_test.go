package guard

import (
	"net/netip"
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

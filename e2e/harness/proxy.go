package harness

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy passes TCP connections on to a server, and fails in the ways in which networks do. It starts by passing everything.
type Proxy struct {
	listener net.Listener

	mu      sync.Mutex
	target  string
	refuses bool
	mute    bool
	delay   time.Duration
	links   map[*link]struct{}
}

// StartProxy starts a proxy that ends with the test. Where the server is not known yet, SetTarget names it later.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, target: target, links: map[*link]struct{}{}}
	go p.accept()
	t.Cleanup(func() { _ = l.Close(); p.endLinks() })
	return p
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// SetTarget names the server.
func (p *Proxy) SetTarget(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// Pass ends all faults. Connections that were muted stay dead, as behind a firewall that has forgotten them.
func (p *Proxy) Pass() { p.set(false, false, 0) }

// Cut resets all connections and every new one.
func (p *Proxy) Cut() {
	p.set(true, false, 0)
	p.endLinks()
}

// Mute leaves connections open, and lets nothing through on them, for ever; new ones fare the same until Pass.
func (p *Proxy) Mute() {
	p.set(false, true, 0)
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.kill()
	}
}

// Slow holds everything up on its way, for d in each direction.
func (p *Proxy) Slow(d time.Duration) { p.set(false, false, d) }

func (p *Proxy) set(refuses, mute bool, delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses, p.mute, p.delay = refuses, mute, delay
}

func (p *Proxy) endLinks() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.close()
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.serve(client)
	}
}

func (p *Proxy) serve(client net.Conn) {
	p.mu.Lock()
	target, refuses := p.target, p.refuses
	p.mu.Unlock()
	if refuses {
		reset(client)
		return
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		reset(client)
		return
	}
	l := &link{proxy: p, client: client, server: server}
	if !p.add(l) {
		l.close()
		return
	}
	go l.pump(server, client)
	l.pump(client, server)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// add keeps a link, dead from its birth where everything is muted; not where connections are refused by now.
func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuses {
		return false
	}
	if p.mute {
		l.kill()
	}
	p.links[l] = struct{}{}
	return true
}

func (p *Proxy) wait() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.delay
}

// link is one connection through the proxy.
type link struct {
	proxy          *Proxy
	client, server net.Conn

	mu   sync.Mutex
	dead bool
}

// kill lets nothing through any more. The server's side ends: it is the client that must find out.
func (l *link) kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	_ = l.server.Close()
}

func (l *link) isDead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

func (l *link) close() {
	reset(l.client)
	reset(l.server)
}

// pump passes on what comes from one side, until either side ends. Of a dead link it reads on without an answer until the client ends it.
func (l *link) pump(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if l.isDead() {
			_, _ = io.Copy(io.Discard, l.client)
			_ = l.client.Close()
			return
		}
		if n > 0 {
			time.Sleep(l.proxy.wait())
			if _, err := to.Write(buffer[:n]); err != nil && !l.isDead() {
				l.close()
				return
			}
		}
		if err != nil && !l.isDead() {
			_ = to.Close()
			_ = from.Close()
			return
		}
	}
}

// reset ends a connection with a reset, so that the other side is told at once.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

package bus_test

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/archive"
	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/bustest"
)

// TestRequestsEndWithoutTheServer: whoever has minutes of time must not wait for them when a reply is lost.
func TestRequestsEndWithoutTheServer(t *testing.T) {
	server := bustest.Start(t)
	conn := server.Connect()
	key := types.NamespacedName{Namespace: "shop", Name: "web"}
	data, large := []byte("x"), make([]byte, 1<<20)
	if err := conn.Sets().Put(t.Context(), archive.Digest(large), large); err != nil {
		t.Fatal(err)
	}
	opened, err := conn.Sets().Open(t.Context(), archive.Digest(large))
	if err != nil {
		t.Fatal(err)
	}
	server.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	t.Cleanup(cancel)
	for what, request := range map[string]func() error{
		"GetState": func() error { _, err := conn.GetState(ctx, "record.a.b.c"); return err },
		"PutState": func() error {
			_, err := conn.PutState(ctx, "record.a.b.c", data, 0, bus.Condition{Key: "record.a.b.c"})
			return err
		},
		"LastTrigger": func() error { _, err := conn.LastTrigger(ctx, "git", key); return err },
		"Scheduled":   func() error { _, err := conn.Scheduled(ctx, "git", key); return err },
		"Schedule":    func() error { return conn.Schedule(ctx, "git", key, time.Now(), nil, false) },
		"Put":         func() error { return conn.Sets().Put(ctx, "sha256:y", data) },
		"Put large":   func() error { return conn.Sets().Put(ctx, "sha256:y", large) },
		"Get":         func() error { _, err := conn.Sets().Get(ctx, "sha256:y"); return err },
		"Has":         func() error { _, err := conn.Sets().Has(ctx, "sha256:y"); return err },
		"Read":        func() error { _, err := opened.Read(make([]byte, 1)); return err },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			ended := make(chan error, 1)
			go func() { ended <- request() }()
			select {
			case err := <-ended:
				if err == nil {
					t.Error("no error")
				}
			case <-time.After(20 * time.Second):
				t.Error("it still waits for a server that is gone")
			}
		})
	}
}

// TestHealsAtOnceAfterALostAnswer: a declaration whose answer was lost with the connection must not hold up the one after it.
func TestHealsAtOnceAfterALostAnswer(t *testing.T) {
	server := bustest.Start(t)
	proxy := startProxy(t, strings.TrimPrefix(server.ClientURL(), "nats://"))
	conn, err := bus.Connect(t.Context(), bus.Options{URL: "nats://" + proxy.addr(), Log: bustest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	healed := make(chan struct{}, 1)
	conn.Subscribe(func(bool) {
		select {
		case healed <- struct{}{}:
		default:
		}
	})
	proxy.swallow()
	conn.Heal()
	<-proxy.swallowed
	proxy.cut()
	select {
	case <-healed:
	case <-time.After(4 * time.Second):
		t.Error("not healed long after the connection was back")
	}
}

// proxy passes bytes between clients and a server.
type proxy struct {
	listener  net.Listener
	swallowed chan struct{} // gets a token when something was swallowed

	mu    sync.Mutex
	mute  bool
	conns []net.Conn
}

func startProxy(t *testing.T, server string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, swallowed: make(chan struct{}, 1)}
	t.Cleanup(func() { _ = l.Close(); p.cut() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			p.serve(client, server)
		}
	}()
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) serve(client net.Conn, server string) {
	upstream, err := net.Dial("tcp", server)
	if err != nil {
		_ = client.Close()
		return
	}
	p.mu.Lock()
	p.conns = append(p.conns, client, upstream)
	p.mu.Unlock()
	go func() { _, _ = io.Copy(client, upstream) }()
	go func() { _, _ = io.Copy(&muffler{p, upstream}, client) }()
}

// swallow lets nothing through to the server any more.
func (p *proxy) swallow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = true
}

// cut ends all connections; new ones pass everything.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns, p.mute = nil, false
}

type muffler struct {
	proxy *proxy
	to    net.Conn
}

func (m *muffler) Write(b []byte) (int, error) {
	m.proxy.mu.Lock()
	mute := m.proxy.mute
	m.proxy.mu.Unlock()
	if !mute {
		return m.to.Write(b)
	}
	select {
	case m.proxy.swallowed <- struct{}{}:
	default:
	}
	return len(b), nil
}

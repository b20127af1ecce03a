package harness

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// TestProxy looks at each fault from a client's side.
func TestProxy(t *testing.T) {
	p := StartProxy(t, startEcho(t))
	old := dial(t, p)
	wantEcho(t, old)

	p.Slow(50 * time.Millisecond)
	began := time.Now()
	wantEcho(t, old)
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("slow, it took %s", took)
	}

	p.Mute()
	wantSilence(t, old)
	p.Pass()
	wantSilence(t, old)
	fresh := dial(t, p)
	wantEcho(t, fresh)

	p.Cut()
	wantReset(t, fresh)
	if c, err := net.Dial("tcp", p.Addr()); err == nil { // a reset may come before the dial is done
		defer c.Close()
		wantReset(t, c)
	}
	p.Pass()
	wantEcho(t, dial(t, p))
}

// startEcho starts a server that says what it is told.
func startEcho(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); _, _ = io.Copy(c, c) }()
		}
	}()
	return l.Addr().String()
}

func dial(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func say(c net.Conn, patience time.Duration) error {
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

func wantEcho(t *testing.T, c net.Conn) {
	t.Helper()
	if err := say(c, 10*time.Second); err != nil {
		t.Errorf("no echo: %v", err)
	}
}

func wantSilence(t *testing.T, c net.Conn) {
	t.Helper()
	if err := say(c, 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("want silence, got %v", err)
	}
}

func wantReset(t *testing.T, c net.Conn) {
	t.Helper()
	if err := say(c, 10*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("want an end of the connection, got %v", err)
	}
}

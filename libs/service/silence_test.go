package service

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

func TestNoticeSilenceLeavesWhatIsSet(t *testing.T) {
	t.Setenv("HTTP2_READ_IDLE_TIMEOUT_SECONDS", "3")
	t.Setenv("HTTP2_PING_TIMEOUT_SECONDS", "")
	if err := os.Unsetenv("HTTP2_PING_TIMEOUT_SECONDS"); err != nil {
		t.Fatal(err)
	}
	if err := NoticeSilence(); err != nil {
		t.Fatal(err)
	}
	if idle, ping := os.Getenv("HTTP2_READ_IDLE_TIMEOUT_SECONDS"), os.Getenv("HTTP2_PING_TIMEOUT_SECONDS"); idle != "3" || ping != "5" {
		t.Errorf("idle %q, ping %q", idle, ping)
	}
}

// A server that says nothing any more, on a connection that stays open, costs a watch no more than the two times together.
func TestWatchOfSilentServerEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as the silence does")
	}
	for name := range silence {
		t.Setenv(name, "")
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := NoticeSilence(); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	var silent atomic.Bool
	config := &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}, Dial: mutable(&silent)}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.ProtoMajor != 2 {
		t.Fatalf("protocol %s", answer.Proto)
	}
	silent.Store(true)
	began := time.Now()
	_, err = io.ReadAll(answer.Body)
	if took := time.Since(began); err == nil || took > 17*time.Second {
		t.Errorf("the watch ended after %s with %v", took, err)
	} else {
		t.Logf("ended after %s: %v", took, err)
	}
}

// mutable dials connections through which nothing comes any more once it is silent.
func mutable(silent *atomic.Bool) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return &muteConn{c, silent, make(chan struct{})}, err
	}
}

type muteConn struct {
	net.Conn
	silent *atomic.Bool
	closed chan struct{}
}

func (c *muteConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.silent.Load() {
		<-c.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *muteConn) Write(b []byte) (int, error) {
	if c.silent.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *muteConn) Close() error {
	select {
	case <-c.closed:
	default:
		close(c.closed)
	}
	return c.Conn.Close()
}

package git

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluice-cd/sluice/libs/gittest"
)

// socks is a SOCKS5 proxy that leads everybody to one address.
func socks(t *testing.T, target string) string {
	t.Helper()
	target, _, _ = strings.Cut(target, "/")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if err := serveSOCKS(conn, target); err != nil && !errors.Is(err, io.EOF) {
					t.Log(err)
				}
			}()
		}
	}()
	return listener.Addr().String()
}

func serveSOCKS(conn net.Conn, target string) error {
	var head [2]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, conn, int64(head[1])); err != nil {
		return err
	}
	if _, err := conn.Write([]byte{5, 0}); err != nil {
		return err
	}
	var request [5]byte
	if _, err := io.ReadFull(conn, request[:]); err != nil {
		return err
	}
	rest := map[byte]int64{1: 5, 3: int64(request[4]) + 2}[request[3]]
	if _, err := io.CopyN(io.Discard, conn, rest); err != nil {
		return err
	}
	if _, err := conn.Write(append([]byte{5, 0, 0, 1}, binary.BigEndian.AppendUint16(make([]byte, 4), 1)...)); err != nil {
		return err
	}
	to, err := net.Dial("tcp", target)
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	defer to.Close()
	go func() { _, _ = io.Copy(to, conn) }()
	_, err = io.Copy(conn, to)
	return err
}

// Requests go through the proxy that the source names, which gets its own
// password and not the repository's.
func TestProxies(t *testing.T) {
	w := newWorld(t, gittest.Options{Username: "jane", Password: "secret"})
	w.write("a", "1")
	var seen atomic.Int64
	server, err := url.Parse(w.server.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		if user, _, _ := strings.Cut(r.Header.Get("Proxy-Authorization"), " "); user != "Basic" {
			t.Error("the proxy got no credentials of its own")
		}
		httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: server.Host}).ServeHTTP(rw, r)
	}))
	defer proxy.Close()
	src := w.source(Ref{Branch: "main"})
	src.URL = "http://git.example.com/app.git"
	src.Auth = Auth{Username: "jane", Password: "secret", Proxy: strings.Replace(proxy.URL, "://", "://u:p@", 1)}
	if files, err := w.tryFiles(t.Context(), src, Selection{}); err != nil || files["a"] != "1" || seen.Load() == 0 {
		t.Fatalf("%v, %v, %d requests through the proxy", files, err, seen.Load())
	}
	src.Auth.Proxy = "socks5://" + socks(t, server.Host)
	if files, err := w.tryFiles(t.Context(), src, Selection{}); err != nil || files["a"] != "1" {
		t.Fatalf("%v, %v", files, err)
	}
	src.Auth.Proxy = "http://user:topsecret@127.0.0.1:1"
	if _, err := w.tryFiles(t.Context(), src, Selection{}); err == nil || strings.Contains(err.Error(), "topsecret") {
		t.Fatal(err)
	}
}

package app

import (
	"encoding/binary"
	"io"
	"net"
	"net/url"
)

// socks is a SOCKS5 proxy before the git server.
func (w *world) socks() string {
	w.Helper()
	server, err := url.Parse(w.server.URL(""))
	w.do(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	w.do(err)
	w.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serveSOCKS(conn, server.Host)
		}
	}()
	return listener.Addr().String()
}

// serveSOCKS knows requests with an IPv4 address alone.
func serveSOCKS(conn net.Conn, target string) {
	defer conn.Close()
	greeting, request := make([]byte, 3), make([]byte, 10)
	if _, err := io.ReadFull(conn, greeting); err != nil {
		return
	}
	_, _ = conn.Write([]byte{5, 0})
	if _, err := io.ReadFull(conn, request); err != nil {
		return
	}
	_, _ = conn.Write(append([]byte{5, 0, 0, 1, 0, 0, 0, 0}, binary.BigEndian.AppendUint16(nil, 1)...))
	to, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer to.Close()
	go func() { _, _ = io.Copy(to, conn) }()
	_, _ = io.Copy(conn, to)
}

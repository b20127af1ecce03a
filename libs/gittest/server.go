package gittest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Options say what a Server asks of its clients.
type Options struct {
	// Username and Password demand basic authentication over HTTP when
	// either is set.
	Username, Password string
	// BearerToken demands an `Authorization: Bearer` header over HTTP.
	BearerToken string
	// TLS serves HTTPS with a certificate of a fresh authority, see Server.CA.
	TLS bool
	// SSH starts the SSH server too. It accepts one client key only, see
	// Server.ClientKey.
	SSH bool
	// ProtocolV0 ignores what clients say about protocol version 2, as old
	// servers do.
	ProtocolV0 bool
	// HTTPAddr and SSHAddr are the addresses to listen on, by default free
	// ports on 127.0.0.1.
	HTTPAddr, SSHAddr string
}

// Request is one HTTP request that reached the server.
type Request struct {
	Method, Path, Query, Authorization string
	// ResponseBytes is the size of the body that was sent back.
	ResponseBytes int64
}

// Hook sees a request before git does. It returns true when it has answered.
type Hook func(w http.ResponseWriter, r *http.Request) bool

// Server serves every bare repository below one directory.
type Server struct {
	dir     string
	options Options
	git     string

	listener net.Listener
	http     *http.Server
	certs    *authority
	ssh      *sshServer

	mu       sync.Mutex
	hook     Hook
	fault    Fault
	requests []Request
}

// NewServer starts a server for the repositories below dir, which must exist.
func NewServer(dir string, o Options) (*Server, error) {
	git, err := exec.LookPath("git")
	if err != nil {
		return nil, fmt.Errorf("find the git program: %w", err)
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("resolve %q: %w", dir, err)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("serve %q: not a directory", dir)
	}
	s := &Server{dir: dir, options: o, git: git}
	if err := s.startHTTP(); err != nil {
		return nil, err
	}
	if o.SSH {
		if s.ssh, err = startSSH(dir, git, o); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

func (s *Server) startHTTP() error {
	listener, err := net.Listen("tcp", orLoopback(s.options.HTTPAddr))
	if err != nil {
		return fmt.Errorf("listen for HTTP: %w", err)
	}
	s.http = &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}
	if s.options.TLS {
		if s.certs, err = newAuthority(); err != nil {
			return errors.Join(err, listener.Close())
		}
		listener = tls.NewListener(listener, s.certs.serverConfig())
	}
	s.listener = listener
	go func() { _ = s.http.Serve(listener) }()
	return nil
}

func orLoopback(addr string) string {
	if addr == "" {
		return "127.0.0.1:0"
	}
	return addr
}

// Close stops the server and cuts what is still connected.
func (s *Server) Close() error {
	err := s.http.Close()
	if s.ssh != nil {
		err = errors.Join(err, s.ssh.close())
	}
	return err
}

// URL is the HTTP or HTTPS address of a repository.
func (s *Server) URL(repository string) string {
	scheme := "http"
	if s.options.TLS {
		scheme = "https"
	}
	return scheme + "://" + s.listener.Addr().String() + "/" + withGit(repository)
}

// SSHURL is the SSH address of a repository.
func (s *Server) SSHURL(repository string) string {
	return "ssh://git@" + s.ssh.listener.Addr().String() + "/" + withGit(repository)
}

func withGit(name string) string {
	return strings.TrimSuffix(name, ".git") + ".git"
}

// CA is the authority that signed the server's certificate, in PEM.
func (s *Server) CA() []byte { return s.certs.caPEM }

// ClientCertificate is a certificate and key of the same authority, in PEM. The
// server asks for none; a test of mutual TLS may pass it all the same.
func (s *Server) ClientCertificate() (cert, key []byte) { return s.certs.certPEM, s.certs.keyPEM }

// KnownHosts is the line of a known_hosts file for the SSH server.
func (s *Server) KnownHosts() []byte { return s.ssh.knownHosts }

// ClientKey is the private key, in PEM, of the one client that the SSH server accepts.
func (s *Server) ClientKey() []byte { return s.ssh.clientKey }

// SSHConnections counts the SSH connections that were accepted.
func (s *Server) SSHConnections() int64 { return s.ssh.connections.Load() }

// SetHook puts a hook before git; nil removes it.
func (s *Server) SetHook(h Hook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = h
}

// Requests are the HTTP requests answered since the start or the last ResetRequests.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// ResetRequests forgets the requests seen so far.
func (s *Server) ResetRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = nil
}

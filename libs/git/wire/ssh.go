package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"

	"github.com/fluxcd/pkg/ssh/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// SSHOptions describe a repository behind SSH.
type SSHOptions struct {
	// URL has at most a user.
	URL *url.URL
	// Signer is the client's key.
	Signer ssh.Signer
	// KnownHosts holds the lines of a known_hosts file. A host that is not in
	// there is refused; where it is empty, so is a host without built-in keys.
	KnownHosts []byte
	// MaxBytes bounds all that the server says in one conversation.
	MaxBytes int64
	// Dial replaces the dialing of TCP, by a proxy for instance.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// NewSSH returns a client; nothing is sent yet.
func NewSSH(o SSHOptions) *Client {
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	return &Client{transport: &sshTransport{options: o}}
}

// sshTransport holds one git-upload-pack on the server's side.
type sshTransport struct {
	options SSHOptions
	client  *ssh.Client
	session *ssh.Session
	stdin   io.WriteCloser
	stdout  io.Reader
	stderr  *firstBytes
}

func (t *sshTransport) stateless() bool { return false }

func (t *sshTransport) open(ctx context.Context) (io.ReadCloser, error) {
	_ = t.close()
	if err := t.dial(ctx); err != nil {
		return nil, err
	}
	if err := t.start(ctx); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t.answer(ctx), nil
}

func (t *sshTransport) dial(ctx context.Context) error {
	u := t.options.URL
	address := net.JoinHostPort(u.Hostname(), port(u))
	config, refused, err := t.config(address)
	if err != nil {
		return err
	}
	conn, err := t.options.Dial(ctx, "tcp", address)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	c, channels, requests, err := ssh.NewClientConn(conn, address, config)
	if err != nil {
		_ = conn.Close()
		return handshakeError(ctx, err, *refused)
	}
	t.client = ssh.NewClient(c, channels, requests)
	return nil
}

func handshakeError(ctx context.Context, err, refused error) error {
	switch {
	case refused != nil:
		return refused
	case ctx.Err() != nil:
		return ctx.Err()
	case strings.Contains(err.Error(), "unable to authenticate"):
		return fmt.Errorf("%w: the server refused the key", ErrAuthentication)
	}
	return err
}

// config also returns where the reason is put when the host is refused.
func (t *sshTransport) config(address string) (*ssh.ClientConfig, *error, error) {
	refused := new(error)
	user := t.options.URL.User.Username()
	if user == "" {
		user = "git"
	}
	config := &ssh.ClientConfig{User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(t.options.Signer)}}
	if len(t.options.KnownHosts) == 0 {
		config.HostKeyCallback = func(_ string, _ net.Addr, key ssh.PublicKey) error {
			*refused = checkBuiltIn(t.options.URL, key)
			return *refused
		}
		return config, refused, nil
	}
	check, _, err := knownhosts.New(t.options.KnownHosts)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: read known_hosts: %w", ErrHostKey, err)
	}
	config.HostKeyAlgorithms = algorithms(check, address, t.options.Signer.PublicKey())
	config.HostKeyCallback = func(host string, remote net.Addr, key ssh.PublicKey) error {
		if err := check(host, remote, key); err != nil {
			*refused = hostKeyError(host, key, err)
			return *refused
		}
		return nil
	}
	return config, refused, nil
}

func hostKeyError(host string, key ssh.PublicKey, err error) error {
	host = xknownhosts.Normalize(host)
	var unknown *xknownhosts.KeyError
	if errors.As(err, &unknown) && len(unknown.Want) == 0 {
		return fmt.Errorf("%w: host %q is not in known_hosts", ErrHostKey, host)
	}
	return fmt.Errorf("%w: the %s key %s of host %q is not the one in known_hosts",
		ErrHostKey, key.Type(), ssh.FingerprintSHA256(key), host)
}

// algorithms are those of the keys that known_hosts has for the host, so that a
// server with several keys shows one of these. Asking with a key that is surely
// another one is the way to learn them.
func algorithms(check ssh.HostKeyCallback, address string, other ssh.PublicKey) []string {
	var known *xknownhosts.KeyError
	if !errors.As(check(address, &net.TCPAddr{}, other), &known) {
		return nil
	}
	var names []string
	for _, key := range known.Want {
		if key.Key.Type() == ssh.KeyAlgoRSA {
			names = append(names, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		}
		names = append(names, key.Key.Type())
	}
	return names
}

func (t *sshTransport) start(ctx context.Context) (err error) {
	stop := context.AfterFunc(ctx, func() { _ = t.client.Close() })
	defer stop()
	if t.session, err = t.client.NewSession(); err != nil {
		return fmt.Errorf("open a session: %w", err)
	}
	// Servers that do not take the variable speak version 0.
	_ = t.session.Setenv("GIT_PROTOCOL", "version=2")
	if t.stdin, err = t.session.StdinPipe(); err != nil {
		return fmt.Errorf("open a session: %w", err)
	}
	stdout, err := t.session.StdoutPipe()
	if err != nil {
		return fmt.Errorf("open a session: %w", err)
	}
	t.stdout = bufio.NewReader(&cappedBody{ReadCloser: io.NopCloser(stdout), left: t.options.MaxBytes})
	t.stderr = new(firstBytes)
	t.session.Stderr = t.stderr
	if err := t.session.Start(uploadPack + " " + quote(t.options.URL.Path)); err != nil {
		return fmt.Errorf("start %s: %w", uploadPack, err)
	}
	return nil
}

// quote makes one word for a shell on the other side.
func quote(path string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(path) + "'"
}

func (t *sshTransport) send(ctx context.Context, body []byte) (io.ReadCloser, error) {
	stop := context.AfterFunc(ctx, func() { _ = t.client.Close() })
	defer stop()
	if _, err := t.stdin.Write(body); err != nil {
		return nil, t.explain(ctx, err)
	}
	return t.answer(ctx), nil
}

// answer reads on from the session; closing it only stops watching ctx.
func (t *sshTransport) answer(ctx context.Context) io.ReadCloser {
	client := t.client
	return &sshAnswer{t: t, ctx: ctx, stop: context.AfterFunc(ctx, func() { _ = client.Close() })}
}

type sshAnswer struct {
	t    *sshTransport
	ctx  context.Context
	stop func() bool
}

func (a *sshAnswer) Read(p []byte) (int, error) {
	n, err := a.t.stdout.Read(p)
	if err != nil {
		err = a.t.explain(a.ctx, err)
	}
	return n, err
}

func (a *sshAnswer) Close() error {
	a.stop()
	return nil
}

// explain prefers what the server wrote to its standard error.
func (t *sshTransport) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, io.EOF) {
		_ = t.session.Wait() // until all of the standard error is there
		if text := t.stderr.text(); text != "" {
			return remoteError(text)
		}
	}
	return err
}

func (t *sshTransport) close() error {
	if t.client == nil {
		return nil
	}
	client := t.client
	t.client = nil
	if t.stdin != nil {
		_ = t.stdin.Close()
	}
	return client.Close()
}

// firstBytes keeps the beginning of what is written.
type firstBytes struct {
	mu   sync.Mutex
	kept []byte
}

func (f *firstBytes) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept = append(f.kept, p[:min(len(p), 1024-len(f.kept))]...)
	return len(p), nil
}

func (f *firstBytes) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return clean(string(f.kept))
}

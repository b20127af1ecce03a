package gittest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// sshServer runs the two git commands for repositories below dir.
type sshServer struct {
	dir, git    string
	v0          bool
	listener    net.Listener
	config      *ssh.ServerConfig
	knownHosts  []byte
	clientKey   []byte
	connections atomic.Int64

	mu   sync.Mutex
	open map[net.Conn]bool // nil once closed
}

func startSSH(dir, git string, o Options) (*sshServer, error) {
	hostKey, _, err := newKey()
	if err != nil {
		return nil, err
	}
	client, clientPEM, err := newKey()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", orLoopback(o.SSHAddr))
	if err != nil {
		return nil, fmt.Errorf("listen for SSH: %w", err)
	}
	address := knownhosts.Normalize(listener.Addr().String())
	s := &sshServer{
		dir: dir, git: git, v0: o.ProtocolV0, listener: listener,
		config:     sshConfig(hostKey, client.PublicKey()),
		knownHosts: []byte(knownhosts.Line([]string{address}, hostKey.PublicKey()) + "\n"),
		clientKey:  clientPEM,
		open:       map[net.Conn]bool{},
	}
	go s.accept()
	return s, nil
}

func newKey() (ssh.Signer, []byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generate an SSH key: %w", err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("use the SSH key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, "gittest")
	if err != nil {
		return nil, nil, fmt.Errorf("encode the SSH key: %w", err)
	}
	return signer, pem.EncodeToMemory(block), nil
}

func sshConfig(host ssh.Signer, client ssh.PublicKey) *ssh.ServerConfig {
	config := &ssh.ServerConfig{
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if !bytes.Equal(key.Marshal(), client.Marshal()) {
				return nil, errors.New("unknown key")
			}
			return nil, nil
		},
	}
	config.AddHostKey(host)
	return config
}

func (s *sshServer) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		if !s.track(conn) {
			return
		}
		s.connections.Add(1)
		go s.connection(conn)
	}
}

func (s *sshServer) track(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		_ = conn.Close()
		return false
	}
	s.open[conn] = true
	return true
}

func (s *sshServer) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.open {
		_ = conn.Close()
	}
	s.open = nil
	return s.listener.Close()
}

func (s *sshServer) connection(conn net.Conn) {
	defer func() {
		_ = conn.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, conn)
	}()
	_, channels, requests, err := ssh.NewServerConn(conn, s.config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		if offered.ChannelType() != "session" {
			_ = offered.Reject(ssh.UnknownChannelType, "only sessions")
			continue
		}
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		go s.session(channel, requests)
	}
}

// session serves one channel: environment first, then one command.
func (s *sshServer) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	protocol := ""
	for request := range requests {
		var payload struct{ Name, Value string }
		switch {
		case request.Type == "env" && ssh.Unmarshal(request.Payload, &payload) == nil:
			accepted := payload.Name == "GIT_PROTOCOL" && !s.v0
			if accepted {
				protocol = payload.Value
			}
			_ = request.Reply(accepted, nil)
		case request.Type == "exec":
			_ = request.Reply(true, nil)
			status := s.run(channel, request.Payload, protocol)
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
			return
		default:
			_ = request.Reply(false, nil)
		}
	}
}

// gitCommand accepts the two commands with a quoted path, nothing else.
var gitCommand = regexp.MustCompile(`^git-(upload|receive)-pack '/?([A-Za-z0-9._/-]+)'$`)

func (s *sshServer) run(channel ssh.Channel, payload []byte, protocol string) uint32 {
	var command struct{ Line string }
	if err := ssh.Unmarshal(payload, &command); err != nil {
		return 127
	}
	match := gitCommand.FindStringSubmatch(command.Line)
	if match == nil || !filepath.IsLocal(match[2]) {
		fmt.Fprintf(channel.Stderr(), "refused: %q\n", command.Line)
		return 127
	}
	if match[1] == "receive" && !s.takesPushes(match[2]) {
		fmt.Fprintln(channel.Stderr(), "ERROR: The key you are authenticating with has been marked as read only.")
		return 1
	}
	cmd := exec.Command(s.git, match[1]+"-pack", filepath.Join(s.dir, match[2]))
	cmd.Env = environment()
	if protocol != "" {
		cmd.Env = append(cmd.Env, "GIT_PROTOCOL="+protocol)
	}
	return exitStatus(pipe(cmd, channel))
}

// takesPushes obeys the setting for HTTP, see Repository.ReadOnly.
func (s *sshServer) takesPushes(name string) bool {
	r := &Repository{path: filepath.Join(s.dir, name), git: s.git}
	value, err := r.Git(context.Background(), nil, "config", receiveKey)
	return err != nil || value != "false"
}

// pipe runs cmd over the channel. The input gets a pipe of its own, so that the
// command's end does not wait for the client to close its side.
func pipe(cmd *exec.Cmd, channel ssh.Channel) error {
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stderr := new(strings.Builder)
	cmd.Stdout, cmd.Stderr = channel, stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(stdin, channel)
		_ = stdin.Close()
	}()
	err = cmd.Wait()
	_, _ = io.WriteString(channel.Stderr(), stderr.String())
	return err
}

func exitStatus(err error) uint32 {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return uint32(exit.ExitCode())
	}
	return 1
}

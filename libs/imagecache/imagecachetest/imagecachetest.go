// Package imagecachetest gives tests a real Redis server. It must be installed; its absence fails the test.
package imagecachetest

import (
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/imagecache"
	"github.com/sluice-cd/sluice/libs/seal"
)

// Server is a server of Redis or Valkey with a password that a test can stop, start again and empty.
type Server struct {
	t       testing.TB
	program string
	dir     string
	port    int
	command *exec.Cmd
	options imagecache.Options
}

// Start starts a server on a free port, with more settings as on its command line; it ends with the test.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	return start(t, "redis-server", settings)
}

// StartValkey is Start with valkey-server, which is no package of every system: where there is none, the test is skipped.
func StartValkey(t testing.TB, settings ...string) *Server {
	t.Helper()
	const program = "valkey-server"
	if _, err := exec.LookPath(program); err != nil {
		t.Skip("not installed:", program)
	}
	return start(t, program, settings)
}

func start(t testing.TB, program string, settings []string) *Server {
	t.Helper()
	s := &Server{t: t, program: program, dir: t.TempDir(), port: FreePort(t)}
	password := rand.Text()
	s.options = imagecache.Options{
		Addrs: []string{s.Addr()}, PasswordFile: filepath.Join(s.dir, "password"), CacheKeyFile: filepath.Join(s.dir, "cache.key"),
	}
	Must(t, os.WriteFile(s.options.PasswordFile, []byte(password+"\n"), 0o600))
	Must(t, seal.EnsureKeyFile(s.options.CacheKeyFile))
	Must(t, os.WriteFile(filepath.Join(s.dir, "redis.conf"), fmt.Appendf(nil,
		"bind 127.0.0.1\nport %d\ndir %s\nsave \"\"\nappendonly no\nrequirepass %s\nmasterauth %s\n", s.port, s.dir, password, password), 0o600))
	s.Run(settings...)
	t.Cleanup(s.Stop)
	return s
}

// Addr is where the server listens.
func (s *Server) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// Options open the cache in the server.
func (s *Server) Options() imagecache.Options { return s.options }

// Run starts the server after Stop, empty.
func (s *Server) Run(settings ...string) {
	s.t.Helper()
	s.command = exec.Command(s.program, append([]string{filepath.Join(s.dir, "redis.conf")}, settings...)...)
	if err := s.command.Start(); err != nil {
		s.t.Fatalf("start %[1]s (Debian package %[1]s): %[2]v", s.program, err)
	}
	WaitTCP(s.t, s.Addr())
}

// Stop kills the server; what it held is lost.
func (s *Server) Stop() {
	if s.command == nil {
		return
	}
	_ = s.command.Process.Kill()
	_ = s.command.Wait()
	s.command = nil
}

// Raw is a plain client, for what the product never does.
func (s *Server) Raw() *redis.Client {
	password, err := os.ReadFile(s.options.PasswordFile)
	Must(s.t, err)
	c := redis.NewClient(&redis.Options{Addr: s.Addr(), Password: string(password[:len(password)-1])})
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// Connect returns a cache in the server, as a replica of its own; it ends with the test.
func (s *Server) Connect() *imagecache.Cache { return Connect(s.t, s.options) }

// Connect returns a cache; it ends with the test.
func Connect(t testing.TB, o imagecache.Options) *imagecache.Cache {
	t.Helper()
	c, err := imagecache.Connect(o, bustest.Logger(t), prometheus.NewRegistry())
	Must(t, err)
	t.Cleanup(c.Close)
	return c
}

// FreePort is a port that nobody listens on.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	Must(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// WaitTCP returns when somebody listens.
func WaitTCP(t testing.TB, addr string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return
		}
	}
	t.Fatalf("nobody listens on %s", addr)
}

// Must fails the test on an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

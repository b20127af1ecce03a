// Package bustest gives tests a real NATS server with JetStream in their own process.
package bustest

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/embedded"
)

// Server is an embedded server that a test can stop, start again and wipe.
type Server struct {
	*embedded.Server
	t    testing.TB
	opts embedded.Options
}

// Start starts a server on a free port; it ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, opts: embedded.Options{Dir: t.TempDir(), Listen: true, SyncInterval: time.Minute, Log: Logger(t)}}
	s.start()
	t.Cleanup(func() { s.Stop() })
	return s
}

func (s *Server) start() {
	s.t.Helper()
	var err error
	if s.Server, err = embedded.Start(s.opts); err != nil {
		s.t.Fatal(err)
	}
	if s.opts.Port == 0 {
		s.opts.Port = s.Addr().(*net.TCPAddr).Port
	}
}

// Restart stops the server and starts it on the same port; with wipe on an empty store.
func (s *Server) Restart(wipe bool) {
	s.t.Helper()
	s.Stop()
	if wipe {
		s.opts.Dir = s.t.TempDir()
	}
	s.start()
}

// Connect returns a connection to the server; it ends with the test.
func (s *Server) Connect() *bus.Conn {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := bus.Connect(ctx, bus.Options{URL: s.ClientURL(), Name: s.t.Name(), Log: Logger(s.t)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// Raw returns a plain NATS connection, for what the product never does.
func (s *Server) Raw() *nats.Conn {
	s.t.Helper()
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	return nc
}

// Logger writes warnings and errors to the test's log.
func Logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

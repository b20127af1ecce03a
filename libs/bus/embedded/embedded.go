// Package embedded runs the NATS server, with the settings that Sluice needs, inside this process. It is apart from package bus so that
// a service, which only connects, links and initialises no server.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Options say how a NATS server runs inside this process.
type Options struct {
	Dir string // where JetStream keeps its files; created when missing
	// Listen opens a TCP port for other processes, on Host; without it there is no socket at all.
	Listen bool
	Host   string // default 127.0.0.1
	Port   int    // 0 takes a free one
	// User and Password are those without which nobody may connect, in this process neither; empty for everybody.
	User, Password string
	// SyncInterval is the longest time between a write and its fsync; 0 syncs every write.
	SyncInterval time.Duration
	PprofPort    int // serves Go's profiles on Host; 0 for none
	Log          *slog.Logger
	// Hangs is called when the server hangs, as it may when its disk was full. Nothing but a new start of the program helps then:
	// StartAnew is one. Nil leaves it at an error in the log.
	Hangs func(error)
}

// maxStore leaves the limit to the disk. The one that a server makes from what is free when it starts would last when there is room again.
const maxStore = math.MaxInt64

// Server is a NATS server with JetStream inside this process. One process owns its directory.
type Server struct {
	*server.Server
	stopMending context.CancelFunc
	mended      chan struct{} // closed when nobody mends any more
}

// Start starts the server and returns when it is ready. The caller stops it with Stop.
func Start(o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("embedded bus: %w", err)
	}
	s, err := server.NewServer(config(o))
	if err != nil {
		return nil, fmt.Errorf("embedded bus in %s: %w", o.Dir, err)
	}
	if o.Hangs == nil {
		o.Hangs = func(err error) { o.Log.Error("bus is lost until this process is started again", "err", err) }
	}
	m := &mender{server: s, dir: o.Dir, log: o.Log, hangs: o.Hangs}
	s.SetLoggerV2(natsLog{o.Log}, false, false, false)
	go s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		s.Shutdown()
		return nil, fmt.Errorf("embedded bus in %s: %w", o.Dir, errors.New("not ready after 30s"))
	}
	ctx, cancel := context.WithCancel(context.Background())
	e := &Server{Server: s, stopMending: cancel, mended: make(chan struct{})}
	go func() { defer close(e.mended); m.run(ctx) }()
	return e, nil
}

func config(o Options) *server.Options {
	cfg := &server.Options{
		ServerName:        "sluice",
		DontListen:        !o.Listen,
		Host:              o.Host,
		Port:              o.Port,
		JetStream:         true,
		StoreDir:          o.Dir,
		NoSigs:            true,
		Username:          o.User,
		Password:          o.Password,
		MaxPayload:        1 << 20,
		SyncAlways:        o.SyncInterval == 0,
		SyncInterval:      o.SyncInterval,
		ProfPort:          o.PprofPort,
		JetStreamMaxStore: maxStore,
	}
	if cfg.Host == "" {
		cfg.Host = "127.0.0.1"
	}
	if o.Listen && o.Port == 0 {
		cfg.Port = server.RANDOM_PORT
	}
	return cfg
}

// Stop stops the server and waits until its files are closed.
func (s *Server) Stop() {
	s.stopMending()
	<-s.mended
	s.Shutdown()
	s.WaitForShutdown()
}

// natsLog passes the server's own messages to our logger.
type natsLog struct{ log *slog.Logger }

func (l natsLog) Noticef(f string, a ...any) {
	l.log.Debug("nats server", "said", fmt.Sprintf(f, a...))
}
func (l natsLog) Warnf(f string, a ...any)  { l.log.Warn("nats server", "said", fmt.Sprintf(f, a...)) }
func (l natsLog) Errorf(f string, a ...any) { l.log.Error("nats server", "said", fmt.Sprintf(f, a...)) }
func (l natsLog) Fatalf(f string, a ...any) { l.log.Error("nats server", "said", fmt.Sprintf(f, a...)) }
func (l natsLog) Debugf(string, ...any)     {}
func (l natsLog) Tracef(string, ...any)     {}

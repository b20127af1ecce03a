package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Options say how to reach the bus. Secrets come from files.
type Options struct {
	URL string // nats://host:port, several separated by commas; unused with InProcess
	// Name of this client in the server's listings, usually service and replica.
	Name string

	NKeySeedFile string // user authentication by NKey
	CredsFile    string // user authentication by JWT and NKey
	User         string // user authentication by password
	PasswordFile string

	CAFile   string // CA that signed the server's certificate
	CertFile string // client certificate and key, for mutual TLS
	KeyFile  string

	// InProcess connects to a server in this process without a socket.
	InProcess nats.InProcessConnProvider

	Topology Topology
	Log      *slog.Logger
}

// Conn is a connection to the bus on which all streams and buckets exist.
// It reconnects for ever; what was lost meanwhile the stages ask for again (see Subscribe).
type Conn struct {
	NATS *nats.Conn
	JS   jetstream.JetStream

	topology Topology
	log      *slog.Logger

	mu        sync.Mutex
	created   time.Time // of stream WORK when last looked at; another time means it was wiped
	listeners []func(wiped bool)
	handles   map[string]jetstream.Stream
	attempt   context.CancelFunc // ends the declaration under way; nil for none
	heal      chan struct{}
	stopped   chan struct{}
	cancel    context.CancelFunc
}

// Connect connects, waits until the server answers, checks its version and declares streams and buckets.
// It gives up only when ctx ends or the server is one that Sluice cannot use (ErrServerVersion).
func Connect(ctx context.Context, o Options) (*Conn, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	c := &Conn{topology: o.Topology, log: o.Log, handles: map[string]jetstream.Stream{}, heal: make(chan struct{}, 1), stopped: make(chan struct{})}
	opts, err := natsOptions(o, c)
	if err != nil {
		return nil, err
	}
	if c.NATS, err = dial(ctx, o, opts); err != nil {
		return nil, err
	}
	if c.JS, err = jetstream.New(c.NATS); err != nil {
		c.NATS.Close()
		return nil, fmt.Errorf("open jetstream: %w", err)
	}
	if err := c.declareUntilDone(ctx); err != nil {
		c.NATS.Close()
		return nil, err
	}
	healCtx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	go c.healLoop(healCtx)
	return c, nil
}

func natsOptions(o Options, c *Conn) ([]nats.Option, error) {
	opts := []nats.Option{
		nats.Name(o.Name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(200*time.Millisecond, time.Second),
		nats.PingInterval(pingInterval),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.log.Warn("bus error", "err", err) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				c.log.Warn("bus disconnected", "err", err)
			}
			c.endAttempt()
		}),
		nats.ReconnectHandler(func(*nats.Conn) { c.log.Info("bus reconnected"); c.Heal() }),
	}
	auth, err := authOptions(o)
	if err != nil {
		return nil, err
	}
	opts = append(opts, auth...)
	if o.InProcess != nil {
		opts = append(opts, nats.InProcessServer(o.InProcess))
	}
	return opts, nil
}

func authOptions(o Options) ([]nats.Option, error) {
	var opts []nats.Option
	if o.NKeySeedFile != "" {
		opt, err := nats.NkeyOptionFromSeed(o.NKeySeedFile)
		if err != nil {
			return nil, fmt.Errorf("read bus nkey seed file %s: %w", o.NKeySeedFile, err)
		}
		opts = append(opts, opt)
	}
	if o.CredsFile != "" {
		opts = append(opts, nats.UserCredentials(o.CredsFile))
	}
	if o.User != "" {
		password, err := os.ReadFile(o.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("read bus password file: %w", err)
		}
		opts = append(opts, nats.UserInfo(o.User, strings.TrimSpace(string(password))))
	}
	if o.CAFile != "" {
		opts = append(opts, nats.RootCAs(o.CAFile))
	}
	if o.CertFile != "" {
		opts = append(opts, nats.ClientCert(o.CertFile, o.KeyFile))
	}
	if strings.HasPrefix(o.URL, "tls://") {
		opts = append(opts, nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12}))
	}
	return opts, nil
}

// dial tries until the server is there, so that services may start before it. A refusal of our credentials is final.
func dial(ctx context.Context, o Options, opts []nats.Option) (*nats.Conn, error) {
	for attempt := 0; ; attempt++ {
		nc, err := nats.Connect(o.URL, opts...)
		if err == nil {
			return nc, nil
		}
		if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) {
			return nil, fmt.Errorf("connect to bus %s: %w", o.URL, err)
		}
		if attempt == 0 {
			o.Log.Warn("bus not reachable yet, trying on", "err", err)
		}
		if err := sleep(ctx, 250*time.Millisecond); err != nil {
			return nil, fmt.Errorf("connect to bus %s: %w", o.URL, err)
		}
	}
}

// Healthy says whether the connection is up now; a readiness probe asks it.
func (c *Conn) Healthy() error {
	if s := c.NATS.Status(); s != nats.CONNECTED {
		return fmt.Errorf("bus is %s", strings.ToLower(s.String()))
	}
	return nil
}

// Close drains what is under way and closes the connection.
func (c *Conn) Close() {
	c.cancel()
	<-c.stopped
	_ = c.NATS.FlushTimeout(2 * time.Second)
	c.NATS.Close()
}

const (
	// requestTime bounds one request. A reply that is lost with a server is waited for until the context ends, and that of a run lasts
	// for many minutes.
	requestTime = 5 * time.Second
	// listTime bounds what takes many messages.
	listTime = time.Minute
	// pingInterval bounds, with the two pings that may be lost, how long a connection is believed in through which nothing comes.
	pingInterval = 4 * time.Second
	// minBytesPerSecond is how slow storing an object may be.
	minBytesPerSecond = 1 << 20
)

func oneRequest(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, requestTime)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

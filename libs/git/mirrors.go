package git

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/sluice-cd/sluice/libs/git/wire"
)

// Options configure Mirrors.
type Options struct {
	// Dir holds the mirrors, one directory each. It is created when missing.
	Dir    string
	Limits Limits
	// CacheBytes is the memory for contents of small files and directories, so
	// that a push costs the reading of what it changes. The default is
	// DefaultCacheBytes.
	CacheBytes int64
	// InsecureHosts are names of hosts, with * for any part of a name, that may
	// be talked to over plain HTTP. Nil means all.
	InsecureHosts []string
	// SubmoduleHosts are names of hosts, likewise, from which submodules may come
	// beside the host of their repository. They get no credentials.
	SubmoduleHosts []string
	// Control judges each address that is about to be connected to, as that of net.Dialer does; nil lets all pass.
	Control func(network, address string, c syscall.RawConn) error
	// Logger hears of damaged mirrors; by default nobody does.
	Logger *slog.Logger
}

// Mirrors keep one mirror per repository and credential. They are for
// concurrent use: work on one mirror takes turns, work on different ones runs
// in parallel.
type Mirrors struct {
	dir    string
	limits Limits
	logger *slog.Logger
	known  *contentCache
	// insecure and foreign are Options.InsecureHosts and SubmoduleHosts.
	insecure, foreign []string
	listings          *listings
	control           func(network, address string, c syscall.RawConn) error

	mu         sync.Mutex
	mirrors    map[string]*mirror
	transports map[string]*http.Transport
}

// NewMirrors opens a directory of mirrors. No other process may use it.
func NewMirrors(o Options) (*Mirrors, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the directory of mirrors: %w", err)
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.InsecureHosts == nil {
		o.InsecureHosts = []string{"*"}
	}
	return &Mirrors{
		dir: o.Dir, limits: o.Limits.orDefault(), logger: o.Logger,
		insecure: o.InsecureHosts, foreign: o.SubmoduleHosts, control: o.Control,
		known: newContentCache(o.CacheBytes), listings: newListings(),
		mirrors: map[string]*mirror{}, transports: map[string]*http.Transport{},
	}, nil
}

// Close ends the connections that were kept for later.
func (m *Mirrors) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, transport := range m.transports {
		transport.CloseIdleConnections()
	}
	return nil
}

// acquire returns the mirror of a source; each needs a release.
func (m *Mirrors) acquire(src Source) *mirror {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := src.mirrorKey()
	found, ok := m.mirrors[key]
	if !ok {
		found = newMirror(filepath.Join(m.dir, key), m.limits, m.known)
		m.mirrors[key] = found
	}
	found.users++
	found.used = time.Now()
	return found
}

func (m *Mirrors) release(used *mirror) {
	m.mu.Lock()
	defer m.mu.Unlock()
	used.users--
}

// Expire removes the mirrors that nobody has used for so long, on disk and in
// memory. Mirrors of an earlier process count from their last fetch.
func (m *Mirrors) Expire(ctx context.Context, unused time.Duration) error {
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return fmt.Errorf("list the mirrors: %w", err)
	}
	limit := time.Now().Add(-unused)
	var errs []error
	for _, entry := range entries {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		info, err := entry.Info()
		if err == nil && info.ModTime().Before(limit) {
			_, err := m.expire(entry.Name(), limit)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Tidy removes, until ctx ends, the mirrors that nobody has used for so long.
func (m *Mirrors) Tidy(ctx context.Context, unused time.Duration) {
	tick := time.NewTicker(unused / 24)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := m.Expire(ctx, unused); err != nil && ctx.Err() == nil {
			m.logger.Warn("cannot remove unused mirrors", "err", err)
		}
	}
}

// expire removes a mirror, unless it is in use or was used after limit.
func (m *Mirrors) expire(key string, limit time.Time) (removed bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known, ok := m.mirrors[key]; ok {
		if known.users > 0 || known.used.After(limit) {
			return false, nil
		}
		delete(m.mirrors, key)
	}
	if err := os.RemoveAll(filepath.Join(m.dir, key)); err != nil {
		return false, fmt.Errorf("remove an unused mirror: %w", err)
	}
	return true, nil
}

// server is what an earlier conversation learned of a mirror's server.
func (m *Mirrors) server(of *mirror) *wire.Server {
	m.mu.Lock()
	defer m.mu.Unlock()
	return of.server
}

func (m *Mirrors) remember(of *mirror, server *wire.Server) {
	m.mu.Lock()
	defer m.mu.Unlock()
	of.server = server
}

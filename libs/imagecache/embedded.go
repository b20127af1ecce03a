package imagecache

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/sluice-cd/sluice/libs/seal"
)

// Embedded is a server with the protocol of Redis in this process, for a single machine. It keeps nothing on disk.
type Embedded struct {
	server *miniredis.Miniredis
	stop   chan struct{}
	done   sync.WaitGroup
}

// StartEmbedded serves on a TCP address, port 0 for a free one, to whoever knows the password; empty for anybody.
func StartEmbedded(addr, password string) (*Embedded, error) {
	e := &Embedded{server: miniredis.NewMiniRedis(), stop: make(chan struct{})}
	if password != "" {
		e.server.RequireAuth(password)
	}
	if err := e.server.StartAddr(addr); err != nil {
		return nil, fmt.Errorf("start embedded cache: %w", err)
	}
	e.done.Go(e.age)
	return e, nil
}

// StartEmbeddedIn serves on a free port of this machine, and returns options for who shares the directory with the key and password.
func StartEmbeddedIn(dir string) (*Embedded, Options, error) {
	return StartEmbeddedAt("127.0.0.1:0", dir)
}

// StartEmbeddedAt is StartEmbeddedIn on a TCP address.
func StartEmbeddedAt(addr, dir string) (*Embedded, Options, error) {
	o, password, err := EnsureFiles(dir)
	if err != nil {
		return nil, o, err
	}
	e, err := StartEmbedded(addr, password)
	if err != nil {
		return nil, o, err
	}
	o.Addrs = []string{e.Addr()}
	return e, o, nil
}

// EnsureFiles makes key and password in a directory where they are missing, and returns options for them, yet without an address.
func EnsureFiles(dir string) (o Options, password string, err error) {
	o = Options{CacheKeyFile: filepath.Join(dir, "cache.key"), PasswordFile: filepath.Join(dir, "cache.password")}
	if err := seal.EnsureKeyFile(o.CacheKeyFile); err != nil {
		return o, "", err
	}
	password, err = ensurePassword(o.PasswordFile)
	return o, password, err
}

// ensurePassword reads the password; without one it makes one. Clients keep theirs over a restart of the server.
func ensurePassword(path string) (string, error) {
	if data, err := os.ReadFile(path); err == nil && len(data) > 0 {
		return string(data), nil
	}
	password := rand.Text()
	if err := os.WriteFile(path, []byte(password), 0o600); err != nil {
		return "", fmt.Errorf("keep password of the embedded cache: %w", err)
	}
	return password, nil
}

// Addr is where the server listens.
func (e *Embedded) Addr() string { return e.server.Addr() }

// Stop ends the server and all that it held.
func (e *Embedded) Stop() {
	close(e.stop)
	e.done.Wait()
	e.server.Close()
}

// age makes keys expire, which the server does only when it is told that time has passed.
func (e *Embedded) age() {
	last := time.Now()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-e.stop:
			return
		case now := <-tick.C:
			e.server.FastForward(now.Sub(last))
			last = now
		}
	}
}

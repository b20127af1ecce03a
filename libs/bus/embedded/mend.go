package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// roomBytes is how much must fit on the disk before a server is tried again on it.
	roomBytes = 8 << 20
	// roomEvery is how often a full disk is looked at.
	roomEvery = time.Second
)

// mender brings JetStream back after its disk was full. From the first write that fails, a NATS server refuses every other one to the
// same stream, also when there is room again: only a start of JetStream ends that, and in this process nobody else starts it.
type mender struct {
	server *server.Server
	dir    string
	log    *slog.Logger
	full   chan struct{} // gets a token when the server says that the disk is full
	hangs  func(error)   // called when JetStream does not even stop
}

// restartLimit is how long a restart of JetStream may take. It reads what is on the disk: seconds where there is much.
const restartLimit = 30 * time.Second

// hear looks whether an error of the server is of a full disk. JetStream has no other way to tell of it.
func (m *mender) hear(text string) {
	if !strings.Contains(text, syscall.ENOSPC.Error()) && !strings.Contains(text, syscall.EDQUOT.Error()) {
		return
	}
	select {
	case m.full <- struct{}{}:
	default:
	}
}

// run mends until ctx ends.
func (m *mender) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.full:
		}
		m.log.Error("disk of the bus is full, work waits until there is room", "dir", m.dir)
		if !m.awaitRoom(ctx) {
			return
		}
		if err := m.inTime(m.restart, restartLimit); err != nil {
			m.log.Error("jetstream does not start, trying on", "err", err)
			m.hear(syscall.ENOSPC.Error())
			continue
		}
		m.log.Info("disk of the bus has room again, work goes on", "dir", m.dir)
	}
}

// awaitRoom returns true when something fits on the disk, false when ctx ends.
func (m *mender) awaitRoom(ctx context.Context) bool {
	tick := time.NewTicker(roomEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C: // also the first time: where JetStream does not start for another reason, that is tried no more often
		}
		if m.tryRoom() == nil {
			return true
		}
	}
}

// tryRoom writes to the disk and takes it away again.
func (m *mender) tryRoom() error {
	f, err := os.CreateTemp(m.dir, "room-")
	if err != nil {
		return fmt.Errorf("try for room: %w", err)
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil { // before anything is in it: who is killed now leaves nothing
		return fmt.Errorf("try for room: %w", err)
	}
	if _, err := f.Write(make([]byte, roomBytes)); err != nil {
		return fmt.Errorf("try for room: %w", err)
	}
	return f.Sync()
}

// inTime gives up on a server that hangs: now and then one does after its disk was full, with a lock that nobody gives back.
func (m *mender) inTime(restart func() error, limit time.Duration) error {
	done := make(chan error, 1)
	go func() { done <- restart() }()
	select {
	case err := <-done:
		return err
	case <-time.After(limit):
		err := fmt.Errorf("jetstream hangs: not started again within %s after the disk was full", limit)
		m.hangs(err)
		return err
	}
}

// restart stops JetStream and starts it with what is on the disk. Connections stay.
func (m *mender) restart() error {
	if err := m.server.ShutdownJetStream(); err != nil {
		return fmt.Errorf("stop jetstream: %w", err)
	}
	select { // what it said before is of the past
	case <-m.full:
	default:
	}
	if err := m.server.EnableJetStream(&server.JetStreamConfig{StoreDir: m.dir, MaxStore: maxStore}); err != nil {
		return fmt.Errorf("start jetstream: %w", err)
	}
	return nil
}

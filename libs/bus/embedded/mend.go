package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// lookEvery is how often the server's health and a full disk are looked at.
	lookEvery = time.Second
	// roomBytes is how much must fit on the disk before JetStream is started again on it.
	roomBytes = 8 << 20
	// hangLimit is how long the server may take to say how it is, or to start JetStream again. That reads what is on the disk: seconds
	// where there is much.
	hangLimit = 30 * time.Second
)

// mender brings JetStream back after its disk was full. From the first write that fails, a NATS server refuses every other one to the
// same stream, also when there is room again: only a start of JetStream ends that, and in this process nobody else starts it.
//
// Now and then even that does not help. In server 2.15.2 a purge of a subject, such as that of a schedule that fired, holds the lock of its
// stream's files when its own write fails, and then waits for that same lock: the stream hangs, and whoever comes near it.
type mender struct {
	server *server.Server
	dir    string
	log    *slog.Logger
	hangs  func(error) // called when the server hangs
}

// run mends until ctx ends, or the server hangs.
func (m *mender) run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := inTime(m.writes, hangLimit)
		if err != nil && !errors.Is(err, errHangs) {
			m.log.Error("bus cannot write, work waits until it can", "dir", m.dir, "err", err)
			err = m.mend(ctx, tick.C)
		}
		if errors.Is(err, errHangs) {
			m.hangs(err)
			return
		}
	}
}

// writes returns the write error of a stream.
func (m *mender) writes() error {
	health := m.server.Healthz(nil)
	if strings.Contains(health.Error, "write error") { // it has no other sign
		return errors.New(health.Error)
	}
	return nil
}

// mend starts JetStream again when there is room, and tries on where it does not start. It returns errHangs, or nil.
func (m *mender) mend(ctx context.Context, again <-chan time.Time) error {
	for ctx.Err() == nil {
		if m.tryRoom() == nil {
			err := inTime(m.restart, hangLimit)
			if err == nil {
				m.log.Info("bus can write again, work goes on", "dir", m.dir)
			}
			if err == nil || errors.Is(err, errHangs) {
				return err
			}
			m.log.Error("jetstream does not start, trying on", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-again:
		}
	}
	return nil
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

// restart stops JetStream and starts it with what is on the disk. Connections stay.
func (m *mender) restart() error {
	if err := m.server.ShutdownJetStream(); err != nil {
		return fmt.Errorf("stop jetstream: %w", err)
	}
	if err := m.server.EnableJetStream(&server.JetStreamConfig{StoreDir: m.dir, MaxStore: maxStore}); err != nil {
		return fmt.Errorf("start jetstream: %w", err)
	}
	return nil
}

var errHangs = errors.New("nats server hangs")

// inTime returns what do returns, or errHangs after limit. Time in which all of this process stood still does not count: its ticks are lost.
func inTime(do func() error, limit time.Duration) error {
	const ticks = 30
	done := make(chan error, 1)
	go func() { done <- do() }()
	tick := time.NewTicker(limit / ticks)
	defer tick.Stop()
	for range ticks {
		select {
		case err := <-done:
			return err
		case <-tick.C:
		}
	}
	return fmt.Errorf("%w: no answer within %s", errHangs, limit)
}

package harness

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"github.com/sluice-cd/sluice/libs/localrun"
)

// beginnings tells when a replica begins a run, from what it logs as it logs it.
type beginnings struct {
	mu        sync.Mutex
	byReplica map[string]chan struct{}
}

func (b *beginnings) of(replica string) chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byReplica == nil {
		b.byReplica = map[string]chan struct{}{}
	}
	if b.byReplica[replica] == nil {
		b.byReplica[replica] = make(chan struct{}, 1)
	}
	return b.byReplica[replica]
}

func (b *beginnings) output(replica string) io.Writer { return beginWriter(b.of(replica)) }

// beginWriter gets a replica's log.
type beginWriter chan struct{}

func (w beginWriter) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(`"run started"`)) {
		select {
		case w <- struct{}{}:
		default:
		}
	}
	return len(p), nil
}

// AwaitRun returns when a replica begins a run, or after a while without.
func (e *Env) AwaitRun(ctx context.Context, r *localrun.Replica, within time.Duration) {
	began := e.begun.of(r.Name)
	select {
	case <-began: // of before
	default:
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-began:
	}
}

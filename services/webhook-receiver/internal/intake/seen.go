package intake

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"sync"
	"time"

	"github.com/sluice-cd/sluice/libs/bus"
	hintsv1 "github.com/sluice-cd/sluice/proto/hints/v1"
)

// maxSeen bounds how many ids are remembered; the oldest go first.
const maxSeen = 500_000

// id tells calls apart.
type id [16]byte

// newID makes an id of what tells calls apart behind one door.
func newID(parts ...[]byte) id {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
		h.Write([]byte{0})
	}
	return id(h.Sum(nil)[:len(id{})])
}

// Seen remembers the calls of a window of time whose hints are durable, of all replicas: it reads them from the stream in which they are.
type Seen struct {
	window time.Duration

	mu     sync.Mutex
	known  map[id]struct{}  // no pointers in it, nor in order: there are many, which the garbage collector need not look at
	order  []entry          // oldest first
	flying map[id]*inFlight // calls of this replica that are being written
}

type entry struct {
	id id
	at int64 // in nanoseconds of Unix time
}

// inFlight is a call under way, for the same one again to wait for.
type inFlight struct {
	done chan struct{}
	err  error
}

// NewSeen makes a Seen that remembers for a time; zero remembers nothing.
func NewSeen(window time.Duration) *Seen {
	return &Seen{window: window, known: map[id]struct{}{}, flying: map[id]*inFlight{}}
}

// Do calls write for a call with some ids, unless one of them was seen. When the same call is under way, it waits for that one's end.
func (s *Seen) Do(ctx context.Context, ids []id, write func() error) (again bool, err error) {
	if len(ids) == 0 || s.window == 0 {
		return false, write()
	}
	for {
		other, known := s.begin(ids)
		if known {
			return true, nil
		}
		if other == nil {
			break
		}
		select {
		case <-other.done:
			if other.err != nil {
				return false, other.err
			}
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	err = write()
	s.end(ids, err)
	return false, err
}

// begin notes that a call is under way; or returns the same one that is already, or whether it was.
func (s *Seen) begin(ids []id) (other *inFlight, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(time.Now())
	for _, i := range ids {
		if _, known := s.known[i]; known {
			return nil, true
		}
		if other := s.flying[i]; other != nil {
			return other, false
		}
	}
	own := &inFlight{done: make(chan struct{})}
	for _, i := range ids {
		s.flying[i] = own
	}
	return nil, false
}

func (s *Seen) end(ids []id, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.flying[ids[0]]
	for _, i := range ids {
		delete(s.flying, i)
		if err == nil {
			s.add(i, time.Now())
		}
	}
	own.err = err
	close(own.done)
}

func (s *Seen) add(i id, at time.Time) {
	if _, known := s.known[i]; known {
		return
	}
	s.known[i] = struct{}{}
	s.order = append(s.order, entry{i, at.UnixNano()})
}

// expire forgets what is too old or too much.
func (s *Seen) expire(now time.Time) {
	n, oldest := 0, now.Add(-s.window).UnixNano()
	for n < len(s.order) && (s.order[n].at < oldest || len(s.order)-n > maxSeen) {
		delete(s.known, s.order[n].id)
		n++
	}
	s.order = s.order[n:]
}

// note remembers the calls of a batch that was stored.
func (s *Seen) note(at time.Time, batch *hintsv1.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(time.Now())
	if time.Since(at) > s.window {
		return
	}
	for _, hint := range batch.GetHints() {
		for _, raw := range hint.GetIds() {
			if len(raw) == len(id{}) {
				s.add(id(raw), at)
			}
		}
	}
}

// Follow reads what all replicas store until ctx ends. ready is called once when everything of the window was read.
func (s *Seen) Follow(ctx context.Context, b *bus.Conn, log *slog.Logger, ready func()) {
	if s.window == 0 {
		ready()
		return
	}
	ready = sync.OnceFunc(ready)
	since := time.Now().Add(-s.window)
	for ctx.Err() == nil {
		err := b.FollowHints(ctx, since, ready, func(at time.Time, batch *hintsv1.Batch) {
			s.note(at, batch)
			since = at
		})
		if err != nil && ctx.Err() == nil {
			log.Warn("cannot read which calls other replicas took, trying on", "err", err)
			wait(ctx, 500*time.Millisecond)
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

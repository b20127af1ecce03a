package intake

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-cd/sluice/libs/bus"
	hintsv1 "github.com/sluice-cd/sluice/proto/hints/v1"
)

const (
	// writeTime bounds one write to the bus.
	writeTime = 3 * time.Second
	// maxQueue is how many calls wait for a write; more are told to come again.
	maxQueue = 4096
)

// errBusy says that more calls wait for the bus than may.
var errBusy = errors.New("too many calls wait for the bus")

// Writer makes hints durable. A synced write costs the same for one hint as for many, so those that arrive while a write is under way are the
// next one.
type Writer struct {
	publish func(context.Context, *hintsv1.Batch) error
	// healthy says at once that nobody can write now; nil for a bus that is always there.
	healthy func() error
	queue   chan *ticket
	wrote   func(hints int, took time.Duration)

	mu  sync.Mutex
	end context.CancelFunc // ends the write under way; nil for none
}

// ticket is one hint that waits, and where its writer says how it went.
type ticket struct {
	hint *hintsv1.Hint
	size int
	done chan error
}

// NewWriter makes a Writer to a bus. wrote is told of each write how many hints it had, and how long it took.
func NewWriter(b *bus.Conn, wrote func(hints int, took time.Duration)) *Writer {
	w := &Writer{publish: b.PublishHints, healthy: b.Healthy, queue: make(chan *ticket, maxQueue), wrote: wrote}
	b.Subscribe(func(bool) { w.endWrite() }) // the bus is back, and has forgotten whom it owes an answer
	return w
}

func (w *Writer) endWrite() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.end != nil {
		w.end()
	}
}

// beginWrite bounds one write by time, and by the life of the connection.
func (w *Writer) beginWrite(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end = cancel
	return ctx, cancel
}

// Write returns when a hint is durable, or why it is not known to be.
func (w *Writer) Write(ctx context.Context, hint *hintsv1.Hint) error {
	if err := w.healthy(); err != nil {
		return err
	}
	t := &ticket{hint, proto.Size(hint) + 16, make(chan error, 1)}
	select {
	case w.queue <- t:
	default:
		return errBusy
	}
	select {
	case err := <-t.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run writes until ctx ends.
func (w *Writer) Run(ctx context.Context) {
	var over *ticket // did not fit into the write before
	for {
		first := over
		over = nil
		if first == nil {
			select {
			case <-ctx.Done():
				return
			case first = <-w.queue:
			}
		}
		var tickets []*ticket
		tickets, over = w.gather(first)
		w.write(ctx, tickets)
	}
}

// gather takes what waits besides, as long as it fits into one message.
func (w *Writer) gather(first *ticket) (tickets []*ticket, over *ticket) {
	tickets, size := []*ticket{first}, first.size
	for {
		select {
		case t := <-w.queue:
			if size += t.size; size > bus.MaxHintBytes {
				return tickets, t
			}
			tickets = append(tickets, t)
		default:
			return tickets, nil
		}
	}
}

func (w *Writer) write(ctx context.Context, tickets []*ticket) {
	batch := &hintsv1.Batch{Hints: make([]*hintsv1.Hint, len(tickets))}
	for i, t := range tickets {
		batch.Hints[i] = t.hint
	}
	ctx, cancel := w.beginWrite(ctx)
	defer cancel()
	began := time.Now()
	err := w.publish(ctx, batch)
	w.wrote(len(tickets), time.Since(began))
	for _, t := range tickets {
		t.done <- err
	}
}

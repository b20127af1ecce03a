package bus

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/nats-io/nats.go/jetstream"
)

// chunkReader reads an object of an object bucket by one request for each chunk. The library would make a consumer for it, which costs
// more for small objects, and waits for long when the server is restarted under it.
type chunkReader struct {
	ctx     context.Context // of the call that opened it
	stream  jetstream.Stream
	subject string
	last    uint64 // sequence of the chunk read last
	left    uint64 // bytes that were not asked for yet
	chunk   []byte // bytes that were not read yet
}

// Read reads from the present chunk, or asks for the next one.
func (r *chunkReader) Read(p []byte) (int, error) {
	for len(r.chunk) == 0 {
		if r.left == 0 {
			return 0, io.EOF
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.chunk)
	r.chunk = r.chunk[n:]
	return n, nil
}

func (r *chunkReader) next() error {
	ctx, cancel := oneRequest(r.ctx)
	defer cancel()
	msg, err := r.stream.GetMsg(ctx, r.last+1, jetstream.WithGetMsgSubject(r.subject))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("%w: it went while it was read", ErrArtifactNotFound)
	}
	if err != nil {
		return fmt.Errorf("get chunk: %w", err)
	}
	if uint64(len(msg.Data)) > r.left {
		return fmt.Errorf("chunk %d of %s: more bytes than the object has", msg.Sequence, r.subject)
	}
	r.last, r.chunk, r.left = msg.Sequence, msg.Data, r.left-uint64(len(msg.Data))
	return nil
}

// Close does nothing: between two requests nothing is held.
func (r *chunkReader) Close() error { return nil }

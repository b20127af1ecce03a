package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// mostSmall is the size in bytes up to which an artifact is one message.
const mostSmall = 256 << 10

// smallStore is an ArtifactStore that keeps each small artifact as one message of a stream, which is stored and read by one request, and
// gives large ones to an object bucket, where each takes several messages and requests. Nearly all rendered sets are small.
type smallStore struct {
	conn  *Conn
	large *objectStore
}

func (c *Conn) artifactStore(bucket string) *smallStore {
	return &smallStore{c, &objectStore{c, bucket}}
}

func smallStream(bucket string) string { return "SMALL_" + bucket }

func smallPrefix(bucket string) string { return "small." + bucket + "." }

func (s *smallStore) streamName() string { return smallStream(s.large.bucket) }

func (s *smallStore) subject(name string) string { return smallPrefix(s.large.bucket) + escape(name) }

// Put stores a message in place of the one of that name, and so refreshes its time.
func (s *smallStore) Put(ctx context.Context, name string, data []byte) error {
	if len(data) > mostSmall {
		return s.large.Put(ctx, name, data)
	}
	ctx, cancel := oneRequest(ctx)
	defer cancel()
	if _, err := s.conn.publish(ctx, message(s.subject(name), data, nil)); err != nil {
		return fmt.Errorf("put %s into bucket %s: %w", name, s.large.bucket, err)
	}
	return nil
}

// small returns the message of a name, nil when there is none.
func (s *smallStore) small(ctx context.Context, name string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := oneRequest(ctx)
	defer cancel()
	stream, err := s.conn.openStream(ctx, s.streamName())
	if err != nil {
		return nil, err
	}
	msg, err := stream.GetLastMsgForSubject(ctx, s.subject(name))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get %s from bucket %s: %w", name, s.large.bucket, err)
	}
	return msg, nil
}

func (s *smallStore) Get(ctx context.Context, name string) ([]byte, error) {
	msg, err := s.small(ctx, name)
	if err != nil {
		return nil, err
	}
	if msg == nil {
		return s.large.Get(ctx, name)
	}
	return msg.Data, nil
}

func (s *smallStore) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	msg, err := s.small(ctx, name)
	if err != nil {
		return nil, err
	}
	if msg == nil {
		return s.large.Open(ctx, name)
	}
	return io.NopCloser(bytes.NewReader(msg.Data)), nil
}

func (s *smallStore) Has(ctx context.Context, name string) (bool, error) {
	msg, err := s.small(ctx, name)
	if err != nil || msg != nil {
		return msg != nil, err
	}
	return s.large.Has(ctx, name)
}

func (s *smallStore) Delete(ctx context.Context, name string) error {
	if err := s.deleteSmall(ctx, name, 0); err != nil {
		return err
	}
	return s.large.Delete(ctx, name)
}

// deleteListed deletes what List gave, if it was not put again since: then it is another message.
func (s *smallStore) deleteListed(ctx context.Context, a ArtifactInfo) error {
	if a.sequence == 0 {
		return s.large.deleteListed(ctx, a)
	}
	return s.deleteSmall(ctx, a.Name, a.sequence)
}

// deleteSmall deletes the message of a name if it has at most that sequence; zero means any.
func (s *smallStore) deleteSmall(ctx context.Context, name string, sequence uint64) error {
	ctx, cancel := oneRequest(ctx)
	defer cancel()
	stream, err := s.conn.openStream(ctx, s.streamName())
	if err != nil {
		return err
	}
	options := []jetstream.StreamPurgeOpt{jetstream.WithPurgeSubject(s.subject(name))}
	if sequence > 0 {
		options = append(options, jetstream.WithPurgeSequence(sequence+1)) // up to there, and not including it
	}
	if err := stream.Purge(ctx, options...); err != nil {
		return fmt.Errorf("delete %s from bucket %s: %w", name, s.large.bucket, err)
	}
	return nil
}

func (s *smallStore) removeOrphans(ctx context.Context, age time.Duration) (int, error) {
	return s.large.removeOrphans(ctx, age)
}

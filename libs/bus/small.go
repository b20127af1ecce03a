package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
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
	if _, err := s.conn.JS.PublishMsg(ctx, message(s.subject(name), data, nil)); err != nil {
		s.conn.Heal()
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

func (s *smallStore) List(ctx context.Context) ([]ArtifactInfo, error) {
	large, err := s.large.List(ctx)
	if err != nil {
		return nil, err
	}
	small, err := s.listSmall(ctx)
	if err != nil {
		return nil, fmt.Errorf("list bucket %s: %w", s.large.bucket, err)
	}
	return append(large, small...), nil
}

// listSmall reads the headers of all messages.
func (s *smallStore) listSmall(ctx context.Context) ([]ArtifactInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	stream, err := s.conn.JS.Stream(ctx, s.streamName())
	if err != nil {
		return nil, err
	}
	many := int(stream.CachedInfo().State.Msgs)
	if many == 0 {
		return nil, nil
	}
	cons, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{HeadersOnly: true})
	if err != nil {
		return nil, err
	}
	// What is put while this goes on is too new to matter.
	batch, err := cons.Fetch(many, jetstream.FetchContext(ctx))
	if err != nil {
		return nil, err
	}
	infos := make([]ArtifactInfo, 0, many)
	for msg := range batch.Messages() {
		info, pending, err := s.info(msg)
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
		if pending == 0 {
			return infos, nil // some were deleted meanwhile
		}
	}
	return infos, batch.Error()
}

func (s *smallStore) info(msg jetstream.Msg) (info ArtifactInfo, pending uint64, err error) {
	name, err := unescape(strings.TrimPrefix(msg.Subject(), smallPrefix(s.large.bucket)))
	if err != nil {
		return info, 0, err
	}
	meta, err := msg.Metadata()
	if err != nil {
		return info, 0, err
	}
	size, err := strconv.ParseInt(msg.Headers().Get(nats.MsgSize), 10, 64)
	if err != nil {
		return info, 0, fmt.Errorf("size of %s: %w", name, err)
	}
	return ArtifactInfo{Name: name, Size: size, Modified: meta.Timestamp}, meta.NumPending, nil
}

func (s *smallStore) Delete(ctx context.Context, name string) error {
	if err := s.deleteSmall(ctx, name); err != nil {
		return fmt.Errorf("delete %s from bucket %s: %w", name, s.large.bucket, err)
	}
	return s.large.Delete(ctx, name)
}

func (s *smallStore) deleteSmall(ctx context.Context, name string) error {
	ctx, cancel := oneRequest(ctx)
	defer cancel()
	stream, err := s.conn.openStream(ctx, s.streamName())
	if err != nil {
		return err
	}
	return stream.Purge(ctx, jetstream.WithPurgeSubject(s.subject(name)))
}

func (s *smallStore) removeOrphans(ctx context.Context, age time.Duration) (int, error) {
	return s.large.removeOrphans(ctx, age)
}

package bus

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// List returns small and large artifacts.
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
	return ArtifactInfo{Name: name, Size: size, Modified: meta.Timestamp, sequence: meta.Sequence.Stream}, meta.NumPending, nil
}

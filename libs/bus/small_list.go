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
	var infos []ArtifactInfo
	err = readAll(ctx, stream, smallPrefix(s.large.bucket)+"*", true, func(msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
		info, err := s.info(msg, meta)
		infos = append(infos, info)
		return err
	})
	return infos, err
}

func (s *smallStore) info(msg jetstream.Msg, meta *jetstream.MsgMetadata) (ArtifactInfo, error) {
	name, err := unescape(strings.TrimPrefix(msg.Subject(), smallPrefix(s.large.bucket)))
	if err != nil {
		return ArtifactInfo{}, err
	}
	size, err := strconv.ParseInt(msg.Headers().Get(nats.MsgSize), 10, 64)
	if err != nil {
		return ArtifactInfo{}, fmt.Errorf("size of %s: %w", name, err)
	}
	return ArtifactInfo{Name: name, Size: size, Modified: meta.Timestamp, sequence: meta.Sequence.Stream}, nil
}

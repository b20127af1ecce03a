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

// listSmall reads the headers of all messages. What is put while this goes on is too new to matter.
func (s *smallStore) listSmall(ctx context.Context) ([]ArtifactInfo, error) {
	var infos []ArtifactInfo
	err := s.conn.each(ctx, s.streamName(), smallPrefix(s.large.bucket)+"*", true, func(msg jetstream.Msg) error {
		info, err := s.info(msg)
		infos = append(infos, info)
		return err
	})
	return infos, err
}

func (s *smallStore) info(msg jetstream.Msg) (ArtifactInfo, error) {
	name, err := unescape(strings.TrimPrefix(msg.Subject(), smallPrefix(s.large.bucket)))
	if err != nil {
		return ArtifactInfo{}, err
	}
	meta, err := msg.Metadata()
	if err != nil {
		return ArtifactInfo{}, err
	}
	size, err := strconv.ParseInt(msg.Headers().Get(nats.MsgSize), 10, 64)
	if err != nil {
		return ArtifactInfo{}, fmt.Errorf("size of %s: %w", name, err)
	}
	return ArtifactInfo{Name: name, Size: size, Modified: meta.Timestamp, sequence: meta.Sequence.Stream}, nil
}

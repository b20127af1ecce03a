package gauge

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// stored is how many messages each stream of the bus has taken in so far. Of a bucket of keys, the stream is KV_ and its name.
func stored(ctx context.Context, bus jetstream.JetStream) (map[string]float64, error) {
	all := map[string]float64{}
	streams := bus.ListStreams(ctx)
	for info := range streams.Info() {
		all[info.Config.Name] = float64(info.State.LastSeq)
	}
	if err := streams.Err(); err != nil {
		return nil, fmt.Errorf("list the streams of the bus: %w", err)
	}
	return all, nil
}

package harness

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-cd/sluice/libs/bus"
)

func (e *Env) jetStream(t testing.TB) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(e.NATSURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// DropArtifacts deletes all artifacts of sources and all rendered sets from the bus.
func (e *Env) DropArtifacts(t testing.TB) {
	t.Helper()
	conn, err := bus.Connect(t.Context(), bus.Options{URL: e.NATSURL(), Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	dropped := 0
	for _, store := range []bus.ArtifactStore{conn.Artifacts(), conn.Sets()} {
		have, err := store.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range have {
			if err := store.Delete(t.Context(), a.Name); err != nil {
				t.Fatal(err)
			}
			dropped++
		}
	}
	if dropped == 0 {
		t.Fatal("the bus holds no artifacts")
	}
}

// BusHolds tells where in the bus, in a header, subject or payload of any message of any stream, one of the words stands. It also
// returns how many messages it looked at.
func (e *Env) BusHolds(t testing.TB, words ...string) (found []string, messages int) {
	t.Helper()
	js := e.jetStream(t)
	streams := js.ListStreams(t.Context())
	for info := range streams.Info() {
		err := eachMessage(t.Context(), js, info, func(msg *jetstream.RawStreamMsg) {
			messages++
			for _, word := range words {
				if holds(msg, word) {
					found = append(found, fmt.Sprintf("stream %s, message %d, subject %s", info.Config.Name, msg.Sequence, msg.Subject))
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := streams.Err(); err != nil {
		t.Fatal(err)
	}
	return found, messages
}

func eachMessage(ctx context.Context, js jetstream.JetStream, info *jetstream.StreamInfo, look func(*jetstream.RawStreamMsg)) error {
	stream, err := js.Stream(ctx, info.Config.Name)
	if err != nil {
		return err
	}
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq && info.State.Msgs > 0; seq++ {
		msg, err := stream.GetMsg(ctx, seq)
		if err != nil {
			continue // removed: replaced by a later one, or expired
		}
		look(msg)
	}
	return nil
}

func holds(msg *jetstream.RawStreamMsg, word string) bool {
	if bytes.Contains(msg.Data, []byte(word)) || bytes.Contains([]byte(msg.Subject), []byte(word)) {
		return true
	}
	for name, values := range msg.Header {
		for _, value := range append(values, name) {
			if bytes.Contains([]byte(value), []byte(word)) {
				return true
			}
		}
	}
	return false
}

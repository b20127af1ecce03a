package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"k8s.io/apimachinery/pkg/types"
)

// streamState is the stream behind the state bucket.
const streamState = "KV_" + BucketState

// ErrConflict says that a conditional write was refused because the key is not as expected any more.
var ErrConflict = errors.New("state has changed meanwhile")

// StateEntry is the present value of a key of the state bucket. A key that never was, was purged or has expired is the zero entry
// but for Revision, which a conditional write must name.
type StateEntry struct {
	Value    []byte
	Revision uint64
	Expired  bool // the last value reached the end of its time to live a short while ago
}

// GetState reads a key of the state bucket; a missing key is an entry without value.
func (c *Conn) GetState(ctx context.Context, key string) (StateEntry, error) {
	ctx, cancel := oneRequest(ctx)
	defer cancel()
	stream, err := c.openStream(ctx, streamState)
	if err != nil {
		return StateEntry{}, err
	}
	msg, err := stream.GetLastMsgForSubject(ctx, StateSubject(key))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return StateEntry{}, nil
	}
	if err != nil {
		return StateEntry{}, fmt.Errorf("read state %s: %w", key, err)
	}
	entry := StateEntry{Value: msg.Data, Revision: msg.Sequence}
	if isMarker(msg.Header) {
		entry.Value = nil
		entry.Expired = msg.Header.Get("Nats-Marker-Reason") == "MaxAge"
	}
	return entry, nil
}

// Condition says when a write to the state bucket may happen: when the last revision of Key is Revision.
type Condition struct {
	Key      string
	Revision uint64
}

// PutState writes a key of the state bucket if a condition on that or another key holds, with a time to live when ttl is not zero
// (whole seconds). It returns the new revision; ErrConflict when the condition does not hold.
func (c *Conn) PutState(ctx context.Context, key string, value []byte, ttl time.Duration, when Condition) (uint64, error) {
	ctx, cancel := oneRequest(ctx)
	defer cancel()
	opts := []jetstream.PublishOpt{}
	if when.Key == key {
		opts = append(opts, jetstream.WithExpectLastSequencePerSubject(when.Revision))
	} else {
		opts = append(opts, jetstream.WithExpectLastSequenceForSubject(when.Revision, StateSubject(when.Key)))
	}
	if ttl > 0 {
		opts = append(opts, jetstream.WithMsgTTL(ttl))
	}
	ack, err := c.publish(ctx, message(StateSubject(key), value, nil), opts...)
	if err != nil {
		if isConflict(err) {
			return 0, fmt.Errorf("write state %s: %w", key, ErrConflict)
		}
		return 0, fmt.Errorf("write state %s: %w", key, err)
	}
	return ack.Sequence, nil
}

// DropState removes keys of the state bucket without a trace.
func (c *Conn) DropState(ctx context.Context, keys ...string) error {
	ctx, cancel := oneRequest(ctx)
	defer cancel()
	stream, err := c.openStream(ctx, streamState)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := stream.Purge(ctx, jetstream.WithPurgeSubject(StateSubject(key))); err != nil {
			return fmt.Errorf("drop state %s: %w", key, err)
		}
	}
	return nil
}

// ListRecords reads every record of a stage, by object; those of one namespace unless it is empty.
func (c *Conn) ListRecords(ctx context.Context, stage, namespace string) (map[types.NamespacedName][]byte, error) {
	filter := "record." + stage + ".>"
	if namespace != "" {
		filter = "record." + stage + "." + escape(namespace) + ".*"
	}
	out := map[types.NamespacedName][]byte{}
	err := c.each(ctx, streamState, StateSubject(filter), false, func(msg jetstream.Msg) error {
		key, err := ParseObjectSubject(strings.TrimPrefix(msg.Subject(), StateSubject("")))
		if err == nil && !isMarker(msg.Headers()) {
			out[key] = msg.Data()
		}
		return err
	})
	return out, err
}

// isMarker says whether a message stands for a value that is gone.
func isMarker(h nats.Header) bool {
	return h.Get("KV-Operation") != "" || h.Get("Nats-Marker-Reason") != ""
}

// Trigger publishes a trigger for one object and stage. Only the headers say anything, and only as hints.
func (c *Conn) Trigger(stage string, key types.NamespacedName, header map[string]string) (jetstream.PubAckFuture, error) {
	return c.JS.PublishMsgAsync(message(WorkSubject(stage, key), nil, header))
}

// TriggerAfter publishes a trigger for one object and stage if the latest one has the sequence number after; ErrConflict says that it has not.
func (c *Conn) TriggerAfter(ctx context.Context, stage string, key types.NamespacedName, header map[string]string, after uint64) error {
	ctx, cancel := oneRequest(ctx)
	defer cancel()
	_, err := c.publish(ctx, message(WorkSubject(stage, key), nil, header), jetstream.WithExpectLastSequencePerSubject(after))
	if isConflict(err) {
		return ErrConflict
	}
	if err != nil {
		return fmt.Errorf("trigger %s %s: %w", stage, key, err)
	}
	return nil
}

// isConflict says whether the server refused a write because what it names is not as expected.
func isConflict(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// Schedule arms the next run of one object and stage at a time, replacing what was armed. With onlyIfNone it does so only
// where nothing is armed; then ErrConflict says that something is.
func (c *Conn) Schedule(ctx context.Context, stage string, key types.NamespacedName, at time.Time, header map[string]string, onlyIfNone bool) error {
	ctx, cancel := oneRequest(ctx)
	defer cancel()
	m := message(ScheduleSubject(stage, key), nil, header)
	m.Header["Nats-Schedule"] = []string{"@at " + at.UTC().Format(time.RFC3339Nano)}
	m.Header["Nats-Schedule-Target"] = []string{WorkSubject(stage, key)}
	var opts []jetstream.PublishOpt
	if onlyIfNone {
		opts = append(opts, jetstream.WithExpectLastSequencePerSubject(0))
	}
	if _, err := c.publish(ctx, m, opts...); err != nil {
		if isConflict(err) {
			return ErrConflict
		}
		return fmt.Errorf("arm next run of %s: %w", key, err)
	}
	return nil
}

// Scheduled is when the armed next run of one object and stage is due; zero when none is armed.
func (c *Conn) Scheduled(ctx context.Context, stage string, key types.NamespacedName) (time.Time, error) {
	msg, err := c.lastWork(ctx, ScheduleSubject(stage, key))
	if err != nil || msg == nil {
		return time.Time{}, err
	}
	at, err := time.Parse(time.RFC3339Nano, strings.TrimPrefix(msg.Header.Get("Nats-Schedule"), "@at "))
	if err != nil {
		return time.Time{}, fmt.Errorf("read armed run of %s: %w", key, err)
	}
	return at, nil
}

// Unschedule removes the armed next run of one object and stage.
func (c *Conn) Unschedule(ctx context.Context, stage string, key types.NamespacedName) error {
	if err := c.purgeWork(ctx, jetstream.WithPurgeSubject(ScheduleSubject(stage, key))); err != nil {
		return fmt.Errorf("disarm next run of %s: %w", key, err)
	}
	return nil
}

// DropTrigger removes the trigger of an object that is gone, unless there is one newer than the sequence number.
func (c *Conn) DropTrigger(ctx context.Context, stage string, key types.NamespacedName, seq uint64) error {
	if err := c.purgeWork(ctx, jetstream.WithPurgeSubject(WorkSubject(stage, key)), jetstream.WithPurgeSequence(seq+1)); err != nil {
		return fmt.Errorf("drop trigger of %s: %w", key, err)
	}
	return nil
}

func (c *Conn) purgeWork(ctx context.Context, what ...jetstream.StreamPurgeOpt) error {
	ctx, cancel := oneRequest(ctx)
	defer cancel()
	stream, err := c.openStream(ctx, StreamWork)
	if err != nil {
		return err
	}
	return stream.Purge(ctx, what...)
}

// LastTrigger returns sequence and time of the latest trigger of one object and stage; zero when there is none.
func (c *Conn) LastTrigger(ctx context.Context, stage string, key types.NamespacedName) (*jetstream.RawStreamMsg, error) {
	return c.lastWork(ctx, WorkSubject(stage, key))
}

// lastWork reads the latest message of a subject of stream WORK; nil for none.
func (c *Conn) lastWork(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := oneRequest(ctx)
	defer cancel()
	stream, err := c.openStream(ctx, StreamWork)
	if err != nil {
		return nil, err
	}
	msg, err := stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the latest message of %s: %w", subject, err)
	}
	return msg, nil
}

// openStream returns a handle of one of our streams. Handles stay valid when the stream is created again.
func (c *Conn) openStream(ctx context.Context, name string) (jetstream.Stream, error) {
	c.mu.Lock()
	handle := c.handles[name]
	c.mu.Unlock()
	if handle != nil {
		return handle, nil
	}
	handle, err := c.JS.Stream(ctx, name)
	if err != nil {
		c.Heal()
		return nil, fmt.Errorf("open stream %s: %w", name, err)
	}
	c.mu.Lock()
	c.handles[name] = handle
	c.mu.Unlock()
	return handle, nil
}

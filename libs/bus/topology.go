package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Topology holds the settings of streams and buckets. The zero value is good for a single server.
type Topology struct {
	Replicas         int           // copies of each stream, 1 to 5; 0 means 1
	FactsMaxAge      time.Duration // how long facts are kept; 0 means 7 days
	FactsMaxBytes    int64         // cap of the facts stream in bytes; 0 means 256 MiB
	HintsMaxAge      time.Duration // how long hints are kept; 0 means 6 hours
	HintsMaxBytes    int64         // cap of the hints stream in bytes; 0 means 256 MiB
	ArtifactMaxBytes int64         // cap of each store of artifacts in bytes, once for small ones and once for large ones; 0 means none
	OutboxMaxBytes   int64         // cap of the outbox in bytes, and four times that of dead letters; 0 means 512 MiB
}

func (t Topology) withDefaults() Topology {
	if t.Replicas == 0 {
		t.Replicas = 1
	}
	if t.FactsMaxAge == 0 {
		t.FactsMaxAge = 7 * 24 * time.Hour
	}
	if t.FactsMaxBytes == 0 {
		t.FactsMaxBytes = 256 << 20
	}
	if t.HintsMaxAge == 0 {
		t.HintsMaxAge = 6 * time.Hour
	}
	if t.HintsMaxBytes == 0 {
		t.HintsMaxBytes = 256 << 20
	}
	if t.ArtifactMaxBytes == 0 {
		t.ArtifactMaxBytes = -1
	}
	if t.OutboxMaxBytes == 0 {
		t.OutboxMaxBytes = 512 << 20
	}
	return t
}

// streams are all that declare makes, those behind buckets included.
func streams() []string {
	return []string{
		StreamWork, StreamFacts, StreamHints, streamState, streamOf(BucketArtifacts), streamOf(BucketSets), smallStream(BucketArtifacts), smallStream(BucketSets),
		StreamOutbox, StreamDead,
	}
}

// find returns when stream WORK was created if every stream exists, so that a bus that only was away is left as it is: writing settings
// again to streams that are in use is no use, and costs a sync of each.
func (c *Conn) find(ctx context.Context) (time.Time, error) {
	var created time.Time
	for _, name := range streams() {
		s, err := c.JS.Stream(ctx, name)
		if err != nil {
			return time.Time{}, fmt.Errorf("look for stream %s: %w", name, err)
		}
		if name == StreamWork {
			created = s.CachedInfo().Created
		}
	}
	return created, nil
}

// findOrDeclare declares what is missing; the first time everything, with our settings.
func (c *Conn) findOrDeclare(ctx context.Context) (time.Time, error) {
	c.mu.Lock()
	first := c.created.IsZero()
	c.mu.Unlock()
	if !first {
		created, err := c.find(ctx)
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return created, err
		}
	}
	return c.declare(ctx)
}

// declare makes every stream and bucket that Sluice uses exist with our settings. It returns when stream WORK was created.
func (c *Conn) declare(ctx context.Context) (time.Time, error) {
	t := c.topology.withDefaults()
	work, err := c.declareStream(ctx, jetstream.StreamConfig{
		Name:        StreamWork,
		Description: "Latest trigger per object and stage, and armed next runs",
		Subjects:    []string{"work.>", "sched.>"},
		// Limits, not WorkQueue: after a server crash superseded messages of a WorkQueue come back.
		Retention:         jetstream.LimitsPolicy,
		Discard:           jetstream.DiscardOld,
		MaxMsgsPerSubject: 1,
		Storage:           jetstream.FileStorage,
		Replicas:          t.Replicas,
		AllowDirect:       true,
		AllowMsgTTL:       true,
		AllowMsgSchedules: true,
	})
	if err != nil {
		return time.Time{}, err
	}
	if !work.Config.AllowMsgSchedules || work.Config.MaxMsgsPerSubject != 1 {
		return time.Time{}, fmt.Errorf("%w: it accepted stream %s but dropped its schedules", ErrServerVersion, StreamWork)
	}
	if _, err := c.declareStream(ctx, jetstream.StreamConfig{
		Name:        StreamFacts,
		Description: "What services tell one another",
		Subjects:    []string{"fact.>"},
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxAge:      t.FactsMaxAge,
		MaxBytes:    t.FactsMaxBytes,
		Storage:     jetstream.FileStorage,
		Replicas:    t.Replicas,
		AllowDirect: true,
	}); err != nil {
		return time.Time{}, err
	}
	if err := errors.Join(c.declareHints(ctx, t), c.declareBoxes(ctx, t)); err != nil {
		return time.Time{}, err
	}
	return work.Created, c.declareBuckets(ctx, t)
}

// declareHints makes the stream of what calls from outside say. A hint that is too old is of no use: intervals were faster.
func (c *Conn) declareHints(ctx context.Context, t Topology) error {
	_, err := c.declareStream(ctx, jetstream.StreamConfig{
		Name:        StreamHints,
		Description: "Calls from outside: what to look at",
		Subjects:    []string{"hint.>"},
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxAge:      t.HintsMaxAge,
		MaxBytes:    t.HintsMaxBytes,
		Storage:     jetstream.FileStorage,
		Replicas:    t.Replicas,
		AllowDirect: true,
	})
	return err
}

func (c *Conn) declareStream(ctx context.Context, cfg jetstream.StreamConfig) (*jetstream.StreamInfo, error) {
	s, err := c.JS.CreateOrUpdateStream(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("declare stream %s: %w", cfg.Name, err)
	}
	return s.CachedInfo(), nil
}

func (c *Conn) declareBuckets(ctx context.Context, t Topology) error {
	_, err := c.JS.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:         BucketState,
		Description:    "Lock and record of each object and stage",
		History:        1,
		Storage:        jetstream.FileStorage,
		Replicas:       t.Replicas,
		LimitMarkerTTL: 30 * time.Second, // lets locks expire; the marker tells the next holder that one died
	})
	if err != nil {
		return fmt.Errorf("declare bucket %s: %w", BucketState, err)
	}
	for bucket, what := range map[string]string{BucketArtifacts: "Packed sources by digest", BucketSets: "Sealed rendered sets by digest"} {
		_, err := c.JS.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{
			Bucket: bucket, Description: what, Storage: jetstream.FileStorage, Replicas: t.Replicas, MaxBytes: t.ArtifactMaxBytes,
		})
		if err != nil {
			return fmt.Errorf("declare bucket %s: %w", bucket, err)
		}
		if err := c.declareSmall(ctx, t, bucket, what); err != nil {
			return err
		}
	}
	return nil
}

// declareSmall makes the stream for what is small enough to be one message.
func (c *Conn) declareSmall(ctx context.Context, t Topology, bucket, what string) error {
	_, err := c.declareStream(ctx, jetstream.StreamConfig{
		Name:              smallStream(bucket),
		Description:       what + ": small ones, one message each",
		Subjects:          []string{smallPrefix(bucket) + "*"},
		Retention:         jetstream.LimitsPolicy,
		Discard:           jetstream.DiscardNew, // a full store refuses, and forgets nothing that is named
		MaxMsgsPerSubject: 1,
		MaxBytes:          t.ArtifactMaxBytes,
		Storage:           jetstream.FileStorage,
		Replicas:          t.Replicas,
		AllowDirect:       true,
	})
	return err
}

// declareUntilDone declares with patience: JetStream may still be starting. A server that cannot serve us is final.
func (c *Conn) declareUntilDone(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		err := c.checkAndDeclare(ctx)
		if err == nil || errors.Is(err, ErrServerVersion) {
			return err
		}
		if attempt%20 == 0 {
			c.log.Warn("bus not usable yet, trying on", "err", err)
		}
		if sleep(ctx, 250*time.Millisecond) != nil {
			return err
		}
	}
}

func (c *Conn) checkAndDeclare(ctx context.Context) error {
	if !c.NATS.IsConnected() {
		return fmt.Errorf("declare streams: %w", c.Healthy())
	}
	if err := checkVersion(c.NATS.ConnectedServerVersion()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	c.beginAttempt(cancel)
	defer c.beginAttempt(nil)
	created, err := c.findOrDeclare(ctx)
	if err != nil {
		return err
	}
	c.noteCreated(created)
	return nil
}

func (c *Conn) beginAttempt(end context.CancelFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attempt = end
}

// endAttempt ends the declaration under way: on a connection that is lost no answer comes any more, and the next one must not wait for it.
func (c *Conn) endAttempt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.attempt != nil {
		c.attempt()
	}
}

// noteCreated tells the listeners that the bus can be used (again), and whether what it held is gone.
func (c *Conn) noteCreated(created time.Time) {
	c.mu.Lock()
	wiped := !c.created.IsZero() && !c.created.Equal(created)
	c.created = created
	listeners := append([]func(bool){}, c.listeners...)
	c.mu.Unlock()
	if wiped {
		c.log.Warn("bus was wiped: asking for all work again")
	}
	for _, f := range listeners {
		f(wiped)
	}
}

// Subscribe calls f after each reconnect or repair, once all streams exist. wiped says that the stream of triggers is another
// than before, so that everything that was pending is lost and must be asked for again. f must not block.
func (c *Conn) Subscribe(f func(wiped bool)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners = append(c.listeners, f)
}

// Heal asks for the streams to be declared again soon. Whoever meets a missing stream or consumer calls it.
func (c *Conn) Heal() {
	select {
	case c.heal <- struct{}{}:
	default:
	}
}

// publish stores a message. A stream that is missing is declared again; one that refuses, as when it is full, is there.
func (c *Conn) publish(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	ack, err := c.JS.PublishMsg(ctx, m, opts...)
	if errors.Is(err, jetstream.ErrNoStreamResponse) {
		c.Heal()
	}
	return ack, err
}

func (c *Conn) healLoop(ctx context.Context) {
	defer close(c.stopped)
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.heal:
		}
		if err := c.declareUntilDone(ctx); err != nil && ctx.Err() == nil {
			c.log.Error("bus cannot be used", "err", err)
		}
		if sleep(ctx, 100*time.Millisecond) != nil {
			return
		}
	}
}

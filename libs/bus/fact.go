package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"k8s.io/apimachinery/pkg/types"

	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
)

// Kinds of facts, as they stand in subjects.
const (
	FactSourceRevised     = "source-revised"
	FactSourceFailed      = "source-failed"
	FactManifestsRendered = "manifests-rendered"
	FactRenderFailed      = "render-failed"
	FactApplied           = "applied"
	FactApplyFailed       = "apply-failed"
	FactHealthChanged     = "health-changed"
	FactDriftRepaired     = "drift-repaired"
	FactPruned            = "pruned"
	FactImageScanned      = "image-scanned"
	FactImageSelected     = "image-selected"
	FactImageUpdated      = "image-updated"
	FactUpdateHeld        = "update-held"
	FactImageFailed       = "image-failed"
	FactRecovered         = "recovered"
)

// FactKind is the subject token of a fact; empty for a kind that this program does not know.
func FactKind(f *factsv1.Fact) string {
	switch f.GetKind().(type) {
	case *factsv1.Fact_SourceRevised:
		return FactSourceRevised
	case *factsv1.Fact_SourceFailed:
		return FactSourceFailed
	case *factsv1.Fact_ManifestsRendered:
		return FactManifestsRendered
	case *factsv1.Fact_RenderFailed:
		return FactRenderFailed
	case *factsv1.Fact_Applied:
		return FactApplied
	case *factsv1.Fact_ApplyFailed:
		return FactApplyFailed
	case *factsv1.Fact_HealthChanged:
		return FactHealthChanged
	case *factsv1.Fact_DriftRepaired:
		return FactDriftRepaired
	case *factsv1.Fact_Pruned:
		return FactPruned
	case *factsv1.Fact_ImageScanned:
		return FactImageScanned
	case *factsv1.Fact_ImageSelected:
		return FactImageSelected
	case *factsv1.Fact_ImageUpdated:
		return FactImageUpdated
	case *factsv1.Fact_UpdateHeld:
		return FactUpdateHeld
	case *factsv1.Fact_ImageFailed:
		return FactImageFailed
	case *factsv1.Fact_Recovered:
		return FactRecovered
	}
	return ""
}

// FactObject is the object that a fact is about.
func FactObject(f *factsv1.Fact) types.NamespacedName {
	return types.NamespacedName{Namespace: f.GetObject().GetNamespace(), Name: f.GetObject().GetName()}
}

// PublishFact stores a fact durably. header is added to the message, for the trace context. Where the fact has no time yet it gets
// the present one. There is no message id: the bus must not drop a revert that looks like the fact of a minute ago.
func (c *Conn) PublishFact(ctx context.Context, f *factsv1.Fact, header map[string]string) error {
	ctx, cancel := oneRequest(ctx)
	defer cancel()
	kind := FactKind(f)
	if kind == "" {
		return fmt.Errorf("publish fact %q: it has no kind", f.GetId())
	}
	if f.Time == nil {
		f.Time = timestamppb.New(time.Now())
	}
	data, err := proto.Marshal(f)
	if err != nil {
		return fmt.Errorf("publish fact %s: %w", kind, err)
	}
	if _, err := c.publish(ctx, message(FactSubject(kind, FactObject(f)), data, header)); err != nil {
		return fmt.Errorf("publish fact %s: %w", kind, err)
	}
	return nil
}

// ParseFact reads a fact from a message of stream FACTS.
func ParseFact(m jetstream.Msg) (*factsv1.Fact, error) {
	f := &factsv1.Fact{}
	if err := proto.Unmarshal(m.Data(), f); err != nil {
		return nil, fmt.Errorf("parse fact on %s: %w", m.Subject(), err)
	}
	return f, nil
}

// FactConsumer declares the durable consumer through which all replicas of a stage share the facts of some kinds.
func (c *Conn) FactConsumer(ctx context.Context, stage string, kinds []string, ackWait time.Duration) (jetstream.Consumer, error) {
	filters := make([]string, len(kinds))
	for i, k := range kinds {
		filters[i] = FactFilter(k)
	}
	return c.consumer(ctx, StreamFacts, jetstream.ConsumerConfig{
		Durable:        stage,
		FilterSubjects: filters,
		DeliverPolicy:  jetstream.DeliverNewPolicy, // a new stage starts with a full pass
		AckPolicy:      jetstream.AckExplicitPolicy,
		AckWait:        ackWait,
		MaxAckPending:  10_000,
		MaxDeliver:     -1,
	})
}

// WorkConsumer declares the durable consumer through which all replicas of a stage share its triggers.
func (c *Conn) WorkConsumer(ctx context.Context, stage string, ackWait time.Duration) (jetstream.Consumer, error) {
	return c.consumer(ctx, StreamWork, jetstream.ConsumerConfig{
		Durable:       stage,
		FilterSubject: WorkFilter(stage),
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       ackWait,
		MaxAckPending: 50_000, // messages waiting out a delay count
		MaxDeliver:    -1,
		MaxWaiting:    4096,
	})
}

func (c *Conn) consumer(ctx context.Context, stream string, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cons, err := c.JS.CreateOrUpdateConsumer(ctx, stream, cfg)
	if err != nil {
		c.Heal()
		return nil, fmt.Errorf("declare consumer %s of stream %s: %w", cfg.Durable, stream, err)
	}
	return cons, nil
}

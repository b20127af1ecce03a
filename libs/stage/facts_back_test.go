package stage

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/bustest"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
)

type noWork struct{}

func (noWork) Run(context.Context, *Run) (Result, error) { return Result{}, nil }

// factFollower follows facts, and stops in the first of them until goOn is closed.
type factFollower struct {
	*Stage
	inside, goOn chan struct{}
	used         chan string
	stop         func()
}

func followFacts(t *testing.T, server *bustest.Server, facts int) *factFollower {
	t.Helper()
	f := &factFollower{inside: make(chan struct{}), goOn: make(chan struct{}), used: make(chan string, 10*facts)}
	rt := &Runtime{
		Bus: server.Connect(), Log: bustest.Logger(t), Metrics: NewMetrics(prometheus.NewRegistry()), Tracer: noop.NewTracerProvider().Tracer(""), Holder: "one",
	}
	first := sync.OnceFunc(func() { close(f.inside) })
	f.Stage = New(rt, "test", noWork{}, Options{
		Facts: []string{bus.FactSourceRevised},
		Map: func(_ context.Context, fact *factsv1.Fact) ([]types.NamespacedName, error) {
			first()
			<-f.goOn
			f.used <- fact.Object.Name
			return nil, nil
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	f.declareFacts(ctx)
	go func() { defer close(done); f.followFacts(ctx) }()
	f.stop = func() { cancel(); <-done }
	t.Cleanup(f.stop)
	return f
}

func tellFacts(t *testing.T, conn *bus.Conn, facts int) {
	t.Helper()
	for i := range facts {
		fact := &factsv1.Fact{Object: &factsv1.ObjectReference{Namespace: "n", Name: fmt.Sprint(i)}, Kind: &factsv1.Fact_SourceRevised{SourceRevised: &factsv1.SourceRevised{}}}
		if err := conn.PublishFact(t.Context(), fact, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// wantUsed waits for facts for less than the server does before it brings those again that nobody answered for.
func (f *factFollower) wantUsed(t *testing.T, facts int) {
	t.Helper()
	late := time.After(factAckWait / 2)
	for n := range facts {
		select {
		case <-f.used:
		case <-late:
			t.Fatalf("%d of %d facts used", n, facts)
		}
	}
}

// Facts that had come when the bus was back are used at once, and not when the server brings them again.
func TestFactsOutliveTheReturnOfTheBus(t *testing.T) {
	const facts = 20
	f := followFacts(t, bustest.Start(t), facts)
	tellFacts(t, f.rt.Bus, facts)
	<-f.inside
	f.awaitServer(t, func(info *jetstream.ConsumerInfo) bool { return info.NumAckPending == facts })
	f.busBack(false)
	f.awaitServer(t, func(info *jetstream.ConsumerInfo) bool { return info.NumWaiting == 0 }) // what was asked for is called off
	close(f.goOn)
	f.wantUsed(t, facts)
}

// Facts that had come to a replica when it ends go to the others at once.
func TestFactsOutliveTheirReplica(t *testing.T) {
	const facts = 20
	server := bustest.Start(t)
	ends := followFacts(t, server, facts)
	tellFacts(t, ends.rt.Bus, facts)
	<-ends.inside
	ends.awaitServer(t, func(info *jetstream.ConsumerInfo) bool { return info.NumAckPending == facts })
	next := followFacts(t, server, facts)
	close(next.goOn)
	ended := make(chan struct{})
	began := time.Now()
	go func() { defer close(ended); ends.stop() }()
	ends.awaitServer(t, func(info *jetstream.ConsumerInfo) bool { return info.NumWaiting <= 1 }) // it asks for no more
	close(ends.goOn)
	<-ended
	next.wantUsed(t, facts-len(ends.used))
	t.Logf("%d facts went on after %s", facts-len(ends.used), time.Since(began).Round(time.Millisecond))
}

// awaitServer waits until the server says so of the consumer of facts.
func (s *Stage) awaitServer(t *testing.T, ok func(*jetstream.ConsumerInfo) bool) {
	t.Helper()
	consumer, err := s.rt.Bus.JS.Consumer(t.Context(), bus.StreamFacts, s.Name)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if info, err := consumer.Info(t.Context()); err == nil && ok(info) {
			return
		}
	}
	t.Fatal("not within 10s")
}

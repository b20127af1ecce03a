package stage

import (
	"context"
	"fmt"
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

// Facts that had come when the bus was back are used at once, and not when the server brings them again.
func TestFactsOutliveTheReturnOfTheBus(t *testing.T) {
	const facts = 20
	server := bustest.Start(t)
	conn := server.Connect()
	inside, goOn := make(chan struct{}), make(chan struct{})
	used := make(chan string, 10*facts)
	rt := &Runtime{Bus: conn, Log: bustest.Logger(t), Metrics: NewMetrics(prometheus.NewRegistry()), Tracer: noop.NewTracerProvider().Tracer(""), Holder: "one"}
	s := New(rt, "test", noWork{}, Options{
		Facts: []string{bus.FactSourceRevised},
		Map: func(_ context.Context, f *factsv1.Fact) ([]types.NamespacedName, error) {
			if f.Object.Name == "0" {
				close(inside)
				<-goOn
			}
			used <- f.Object.Name
			return nil, nil
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	s.declareFacts(ctx)
	go func() { defer close(done); s.followFacts(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	for i := range facts {
		fact := &factsv1.Fact{Object: &factsv1.ObjectReference{Namespace: "n", Name: fmt.Sprint(i)}, Kind: &factsv1.Fact_SourceRevised{SourceRevised: &factsv1.SourceRevised{}}}
		if err := conn.PublishFact(ctx, fact, nil); err != nil {
			t.Fatal(err)
		}
	}
	<-inside
	s.awaitServer(t, func(info *jetstream.ConsumerInfo) bool { return info.NumAckPending == facts })
	s.busBack(false)
	s.awaitServer(t, func(info *jetstream.ConsumerInfo) bool { return info.NumWaiting == 0 }) // what was asked for is called off
	close(goOn)
	late := time.After(factAckWait / 2)
	for range facts {
		select {
		case <-used:
		case <-late:
			t.Fatalf("%d of %d facts used", len(used), facts)
		}
	}
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

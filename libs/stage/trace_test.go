package stage_test

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/stage"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
)

// TestOneTraceFromTriggerToLastFact lets a first stage tell a fact that wakes a second one, which tells another.
func TestOneTraceFromTriggerToLastFact(t *testing.T) {
	server := bustest.Start(t)
	conn := server.Connect()
	spans := tracetest.NewSpanRecorder()
	rt := &stage.Runtime{
		Bus: conn, Log: bustest.Logger(t), Metrics: stage.NewMetrics(prometheus.NewRegistry()), Holder: "one",
		Tracer: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test"),
	}
	told := make(chan *factsv1.Fact, 2)
	tell := func(kind *factsv1.Fact) handlerFunc {
		return func(ctx context.Context, run *stage.Run) (stage.Result, error) {
			f := &factsv1.Fact{Object: &factsv1.ObjectReference{Name: run.Key.Name, Namespace: run.Key.Namespace}, Kind: kind.Kind}
			err := run.Tell(ctx, f)
			told <- f
			return stage.Result{}, err
		}
	}
	first := stage.New(rt, "first", tell(&factsv1.Fact{Kind: &factsv1.Fact_SourceRevised{SourceRevised: &factsv1.SourceRevised{}}}), fast)
	o := fast
	o.Facts = []string{bus.FactSourceRevised}
	o.Map = func(_ context.Context, f *factsv1.Fact) ([]types.NamespacedName, error) {
		return []types.NamespacedName{bus.FactObject(f)}, nil
	}
	second := stage.New(rt, "second", tell(&factsv1.Fact{Kind: &factsv1.Fact_Applied{Applied: &factsv1.Applied{}}}), o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { second.Run(ctx); close(done) }()
	waitFor(t, "the consumer of facts", func() bool {
		_, err := conn.JS.Consumer(ctx, bus.StreamFacts, "second")
		return err == nil
	})
	finished := make(chan struct{})
	go func() { first.Run(ctx); close(finished) }()
	first.Trigger(t.Context(), app, stage.Hint{Cause: "changed"})
	a, b := <-told, <-told
	cancel()
	<-done
	<-finished
	ids := map[string]bool{}
	for _, s := range spans.Ended() {
		ids[s.SpanContext().TraceID().String()] = true
	}
	if len(ids) != 1 || len(spans.Ended()) != 3 {
		t.Fatalf("%d spans in traces %v; want a trigger and two runs in one trace", len(spans.Ended()), ids)
	}
	for _, f := range []*factsv1.Fact{a, b} {
		if id := f.GetTrace().GetTraceparent(); len(id) < 35 || !ids[id[3:35]] {
			t.Errorf("fact carries traceparent %q; want one of trace %v", id, ids)
		}
	}
}

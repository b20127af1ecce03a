package stage_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/stage"
)

// BenchmarkRun is the price of a run that does nothing: trigger, lock, record, schedule, acknowledgement, release.
func BenchmarkRun(b *testing.B) {
	server := bustest.Start(b)
	var runs atomic.Int64
	done := make(chan struct{}, 1)
	var want atomic.Int64
	o := fast
	o.Slots = 16
	s := start(b, server, handlerFunc(func(context.Context, *stage.Run) (stage.Result, error) {
		if runs.Add(1) == want.Load() {
			done <- struct{}{}
		}
		return stage.Result{Next: time.Hour}, nil
	}), o)
	keys := make([]types.NamespacedName, 500)
	for i := range keys {
		keys[i] = types.NamespacedName{Namespace: "bench", Name: fmt.Sprintf("app-%d", i)}
	}
	for b.Loop() {
		want.Store(runs.Load() + int64(len(keys)))
		if err := s.TriggerAll(b.Context(), keys, stage.Hint{}); err != nil {
			b.Fatal(err)
		}
		<-done
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(runs.Load()), "µs/run")
}

// BenchmarkPart is the price of one part of an object's work, nothing else going on.
func BenchmarkPart(b *testing.B) {
	done := make(chan struct{}, 1)
	var left atomic.Int64
	s := start(b, bustest.Start(b), handlerFunc(func(ctx context.Context, run *stage.Run) (stage.Result, error) {
		_, err := count(ctx, run)
		more := left.Add(-1) > 0
		if !more {
			done <- struct{}{}
		}
		return stage.Result{More: more}, err
	}), fast)
	for b.Loop() {
		left.Store(100)
		if err := s.TriggerAll(b.Context(), []types.NamespacedName{app}, stage.Hint{}); err != nil {
			b.Fatal(err)
		}
		<-done
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(100*b.N), "µs/part")
}

package stage_test

import (
	"context"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/stage"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
)

// A fact that nobody can use is put aside, and holds up neither the facts after it nor the process.
func TestPoisonedFacts(t *testing.T) {
	woken := make(chan string, 10)
	o := fast
	o.Facts = []string{bus.FactSourceRevised}
	o.Map = func(_ context.Context, f *factsv1.Fact) ([]types.NamespacedName, error) {
		if f.Object.Name == "poison" {
			panic("of this fact")
		}
		return []types.NamespacedName{bus.FactObject(f)}, nil
	}
	s := start(t, bustest.Start(t), handlerFunc(func(_ context.Context, run *stage.Run) (stage.Result, error) {
		woken <- run.Key.Name
		return stage.Result{}, nil
	}), o)
	waitFor(t, "the consumer", func() bool {
		_, err := s.Bus.JS.Consumer(t.Context(), bus.StreamFacts, "test")
		return err == nil
	})
	for _, data := range []string{"", "\xff\xff\xff", "{}", "\x0a\x03abc"} {
		if _, err := s.Bus.JS.Publish(t.Context(), bus.FactSubject(bus.FactSourceRevised, app), []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"poison", "good"} {
		fact := &factsv1.Fact{Object: &factsv1.ObjectReference{Namespace: "n", Name: name}, Kind: &factsv1.Fact_SourceRevised{SourceRevised: &factsv1.SourceRevised{}}}
		if err := s.Bus.PublishFact(t.Context(), fact, nil); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "the end of the facts", func() bool {
		consumer, err := s.Bus.JS.Consumer(t.Context(), bus.StreamFacts, "test")
		if err != nil {
			return false
		}
		info, err := consumer.Info(t.Context())
		return err == nil && info.NumPending == 0 && info.NumAckPending == 0
	})
	if name := <-woken; name != "good" {
		t.Errorf("woken: %q", name)
	}
}

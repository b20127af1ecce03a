package stage_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/stage"
	hintsv1 "github.com/sluice-cd/sluice/proto/hints/v1"
)

// Hints wake what they name, also those that came before anybody followed them; one that nobody can use holds up no other, and one that
// could not be used yet comes again.
func TestHintsWakeObjects(t *testing.T) {
	server := bustest.Start(t)
	conn := server.Connect()
	hint := func(name string) *hintsv1.Hint {
		return &hintsv1.Hint{Objects: []*hintsv1.ObjectName{{Kind: "GitRepository", Namespace: "n", Name: name}, {Kind: "Bucket", Namespace: "n", Name: "other"}}}
	}
	publish := func(hints ...*hintsv1.Hint) {
		t.Helper()
		if err := conn.PublishHints(t.Context(), &hintsv1.Batch{Hints: hints}); err != nil {
			t.Fatal(err)
		}
	}
	publish(hint("early"))
	if _, err := conn.JS.Publish(t.Context(), bus.HintSubject, []byte("\xff\xff")); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var woken []string
	refused := false
	o := fast
	o.Hints = func(_ context.Context, h *hintsv1.Hint) ([]types.NamespacedName, error) {
		keys := stage.Named(h, "GitRepository")
		mu.Lock()
		defer mu.Unlock()
		switch keys[0].Name {
		case "poison":
			panic("of this hint")
		case "later":
			if !refused {
				refused = true
				return nil, errors.New("not now")
			}
		}
		return keys, nil
	}
	start(t, server, handlerFunc(func(_ context.Context, run *stage.Run) (stage.Result, error) {
		mu.Lock()
		defer mu.Unlock()
		woken = append(woken, run.Key.Name)
		return stage.Result{}, nil
	}), o)
	publish(hint("poison"), hint("good"))
	publish(hint("later"))
	has := func(name string) func() bool {
		return func() bool { mu.Lock(); defer mu.Unlock(); return slices.Contains(woken, name) }
	}
	waitFor(t, "the hint from before", has("early"))
	waitFor(t, "the hint beside a poisoned one", has("good"))
	waitFor(t, "the hint that was refused once", has("later"))
	server.Restart(false)
	publish(hint("after"))
	waitFor(t, "a hint after the bus was away", has("after"))
	mu.Lock()
	defer mu.Unlock()
	if slices.Contains(woken, "other") || slices.Contains(woken, "poison") {
		t.Errorf("woken: %v", woken)
	}
}

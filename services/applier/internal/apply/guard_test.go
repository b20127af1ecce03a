package apply

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
)

func TestGuardStops(t *testing.T) {
	f := setUp(t, Config{Concurrency: 1})
	lost := errors.New("lock lost")
	var calls atomic.Int32
	f.options.Guard = func() error {
		if calls.Add(1) == 3 {
			return lost
		}
		return nil
	}
	docs := ""
	for i := range 10 {
		docs += configMap(fmt.Sprint("c", i), "1")
	}
	result, err := f.Apply(t.Context(), f.parse(docs), f.options)
	if !errors.Is(err, lost) || KindOf(err) != Stopped {
		t.Errorf("error = %v (%s)", err, KindOf(err))
	}
	if len(result.Changes) != 2 || calls.Load() != 3 || result.Inventory.Len() != 3 {
		t.Errorf("%d changes, %d calls, %d in the inventory; want 2, 3, 3", len(result.Changes), calls.Load(), result.Inventory.Len())
	}
	if f.exists(f.parse(configMap("c2", "1"))[0]) {
		t.Error("the guarded patch was sent")
	}
}

// Taking fields over and replacing an object are effects too.
func TestGuardIsBeforeEveryEffect(t *testing.T) {
	f := setUp(t, Config{})
	f.kubectl("create", f.parse(configMap("a", "1"))[0])
	var calls atomic.Int32
	f.options.Guard = func() error { calls.Add(1); return nil }
	f.apply(configMap("a", "1"))
	if calls.Load() != 2 {
		t.Errorf("%d calls, want one for the takeover and one for the apply", calls.Load())
	}
}

func TestContextStops(t *testing.T) {
	f := setUp(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := f.Apply(ctx, f.parse(configMap("a", "1")), f.options)
	if !errors.Is(err, context.Canceled) || KindOf(err) != Stopped {
		t.Errorf("error = %v (%s)", err, KindOf(err))
	}
}

package handler

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Whoever gets no turn comes back, the later the more there are, and those who went on elsewhere are not counted for ever.
func TestTurns(t *testing.T) {
	turns, now := newTurns(4), time.Now()
	name := func(i int) types.NamespacedName { return types.NamespacedName{Name: fmt.Sprint(i)} }
	for i := range 3 {
		if wait := turns.take(name(i), now); wait != 0 {
			t.Fatalf("policy %d is to wait %s with turns free", i, wait)
		}
	}
	var longest time.Duration
	for i := 3; i < 103; i++ {
		wait := turns.take(name(i), now)
		if wait < max(time.Second, longest) {
			t.Fatalf("policy %d is to wait %s, the one before %s", i, wait, longest)
		}
		longest = wait
	}
	if want := 99 * time.Second / comeBacks; longest != want {
		t.Errorf("the hundredth is to wait %s, want %s", longest, want)
	}
	turns.giveBack()
	if wait := turns.take(name(50), now); wait != 0 {
		t.Errorf("a turn was given back, but the next is to wait %s", wait)
	}
	if wait := turns.take(name(51), now.Add(time.Hour)); wait != time.Second {
		t.Errorf("the only one who waits is to do so for %s, want a second", wait)
	}
}

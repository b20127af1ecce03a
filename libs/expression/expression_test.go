package expression

import (
	"context"
	"strings"
	"testing"
	"time"
)

// loops is an expression that takes a step for each of 10^n combinations.
func loops(n int) string {
	text := "true"
	for range n {
		text = "[0,1,2,3,4,5,6,7,8,9].all(a, " + text + ")"
	}
	return text
}

// Short loops within one another end, too: by their cost, and when the time is up.
func TestNothingIsEndless(t *testing.T) {
	small, err := CompileSmall(loops(8))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := small.Bool(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "cost") {
		t.Errorf("by cost: %v", err)
	}
	large, err := Compile(loops(8))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := large.Bool(ctx, nil); err == nil || strings.Contains(err.Error(), "cost") {
		t.Errorf("by time: %v", err)
	}
	t.Logf("ended after %s", time.Since(began))
}

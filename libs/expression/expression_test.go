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

// Text is text, as far as that shows, before the expression is used and when it is.
func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"'a' + o.b": "ax", "o.c": "!text", "1 + 1": "!want text", "o.b.split('').first().value()": "x", "1 +": "!compile", loops(8) + " ? 'a' : 'b'": "!cost",
	} {
		compiled, err := CompileText(text, "o")
		var got string
		if err == nil {
			got, err = compiled.Text(t.Context(), map[string]any{"o": map[string]any{"b": "x", "c": 1}})
		}
		if wanted, fails := strings.CutPrefix(want, "!"); fails != (err != nil) || fails && !strings.Contains(err.Error(), wanted) || !fails && got != want {
			t.Errorf("%s: %q, %v; want %q", text, got, err, want)
		}
	}
}

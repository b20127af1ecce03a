package e2e

import (
	"errors"
	"fmt"
	"testing"
)

// fairShares says of runs, by stage and replica, where a stage has too few or one of two replicas did too little.
func fairShares(byStage map[string]map[string]int, enough int) error {
	for _, stage := range []string{"git", "render", "apply"} {
		total, least := 0, -1
		for _, n := range byStage[stage] {
			total += n
			if least < 0 || n < least {
				least = n
			}
		}
		switch {
		case total < enough:
			return fmt.Errorf("stage %s: %d runs so far", stage, total)
		case len(byStage[stage]) < 2:
			return fmt.Errorf("stage %s: all runs by one replica: %v", stage, byStage[stage])
		case float64(least) < fairShare*float64(total):
			return fmt.Errorf("stage %s: unfair: %v", stage, byStage[stage])
		}
	}
	return nil
}

func TestFairShares(t *testing.T) {
	fair := map[string]int{"a": 30, "b": 20}
	for name, c := range map[string]struct {
		apply map[string]int
		want  error
	}{
		"fair":     {fair, nil},
		"too few":  {map[string]int{"a": 3, "b": 2}, errors.New("few")},
		"one does": {map[string]int{"a": 50}, errors.New("one")},
		"unfair":   {map[string]int{"a": 95, "b": 5}, errors.New("unfair")},
	} {
		got := fairShares(map[string]map[string]int{"git": fair, "render": fair, "apply": c.apply}, 10)
		if (got == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

package demo

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// outcome is what was measured of one commit.
type outcome struct {
	step  step
	times times
}

// quantile is the value that the given share of all does not exceed, by nearest rank.
func quantile(all []time.Duration, share float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	rank := int(math.Ceil(share*float64(len(sorted)))) - 1
	return sorted[max(0, min(rank, len(sorted)-1))]
}

// pick takes one time of each commit that reached the cluster, or of each that did not.
func pick(outcomes []outcome, refused bool, of func(times) time.Duration) []time.Duration {
	var all []time.Duration
	for _, o := range outcomes {
		if o.step.refused == refused && o.step.tag == "" {
			all = append(all, of(o.times))
		}
	}
	return all
}

// summarize tells what all pushes together took.
func (c *console) summarize(outcomes []outcome, server string) {
	changed := pick(outcomes, false, func(t times) time.Duration { return t.changed })
	c.line("\n%s", c.paint(bold, fmt.Sprintf("%d pushes, of which %d changed objects of Kubernetes %s:", len(outcomes), len(changed), server)))
	c.line("  from push to object changed:     %s", c.paint(good, fmt.Sprintf("p50 %s   p90 %s   max %s",
		ms(quantile(changed, 0.5)), ms(quantile(changed, 0.9)), ms(quantile(changed, 1)))))
	c.line("  medians of each stage:           %s", medians(outcomes))
	for _, o := range outcomes {
		if o.step.tag != "" {
			c.line("  from image to object changed:    %s, of which 1 s is to collect changes for one commit", ms(o.times.changed))
		}
	}
	for _, told := range pick(outcomes, true, func(t times) time.Duration { return t.changed }) {
		c.line("  from broken file to Ready=False: %s", ms(told))
	}
}

func medians(outcomes []outcome) string {
	var parts []string
	for _, stage := range []struct {
		name string
		of   func(times) time.Duration
	}{
		{"called", func(t times) time.Duration { return t.asked }},
		{"fetched", func(t times) time.Duration { return t.fetched }},
		{"rendered", func(t times) time.Duration { return t.rendered }},
		{"changed", func(t times) time.Duration { return t.changed }},
		{"applied", func(t times) time.Duration { return t.applied }},
	} {
		parts = append(parts, stage.name+" "+ms(quantile(pick(outcomes, false, stage.of), 0.5)))
	}
	return strings.Join(parts, "   ")
}

func ms(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }

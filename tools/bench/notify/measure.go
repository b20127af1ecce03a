package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/tools/bench/internal/gauge"
	"github.com/sluice-cd/sluice/tools/bench/internal/workload"
)

// found is what one commit that touches all applications took.
type found struct {
	apps  int
	ready time.Duration // from the push to the last application that was ready
	told  []telling
	usage *gauge.Usage
}

// telling is what one service heard of it.
type telling struct {
	service             string
	posts, edits, looks int
	after               time.Duration // from the last application that was ready to the last message
}

// settle is how long after the last message late effects are waited for.
const settle = 2 * time.Second

// round changes every application and returns when all services were told how that ended.
func (b *bench) round(ctx context.Context, n int) (*found, error) {
	p, err := b.PreparePush(ctx, workload.Round(n))
	if err != nil {
		return nil, err
	}
	for _, s := range b.services() {
		s.forget()
	}
	window, err := b.Meter.Begin(ctx)
	if err != nil {
		return nil, err
	}
	ready := b.allAt(p.Revision)
	began, err := p.Land(ctx)
	if err != nil {
		return nil, err
	}
	times, err := ready.Within(ctx, patience)
	if err != nil {
		return nil, err
	}
	last := slices.MaxFunc(slices.Collect(maps.Values(times)), time.Time.Compare)
	b.Say("round %d: all ready after %s", n, last.Sub(began).Round(time.Millisecond))
	if err := b.told(ctx, len(b.apps), p.Revision, patience); err != nil {
		return nil, err
	}
	time.Sleep(settle)
	usage, err := window.End(ctx)
	if err != nil {
		return nil, err
	}
	f := &found{apps: len(b.apps), ready: last.Sub(began), usage: usage}
	for _, s := range b.services() {
		s.mu.Lock()
		f.told = append(f.told, telling{s.name, s.posts, s.edits, s.looks, s.last.Sub(last)})
		s.mu.Unlock()
	}
	return f, nil
}

// print writes lines of a Markdown table.
func (f *found) print(out io.Writer) {
	fmt.Fprintf(out, "| %d applications: all ready | %s after the push |\n", f.apps, seconds(f.ready))
	for _, t := range f.told {
		fmt.Fprintf(out, "| %s | %d messages, %d edits, %d look-ups; the last one %s after the last application was ready |\n", t.service, t.posts, t.edits, t.looks, seconds(t.after))
	}
	fmt.Fprintf(out, "| notifier | %.1f s of processor, %d MiB at most |\n", f.usage.CPU["notifier"], f.usage.Peak["notifier"]>>20)
	fmt.Fprintf(out, "| all other services and the bus | %.1f s of processor |\n", f.usage.CPUSeconds()-f.usage.CPU["notifier"])
	var stored []string
	for _, stream := range slices.Sorted(maps.Keys(f.usage.Stored)) {
		if n := f.usage.Stored[stream]; n > 0 {
			stored = append(stored, fmt.Sprintf("%s %.0f", stream, n))
		}
	}
	fmt.Fprintf(out, "| messages stored on the bus | %s |\n", strings.Join(stored, ", "))
	fmt.Fprintf(out, "| runs of its stages | news %.0f, notify %.0f |\n", f.usage.Runs["news"], f.usage.Runs["notify"])
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

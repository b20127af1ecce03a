package rows

import (
	"context"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"github.com/sluice-cd/sluice/tools/bench/internal/gauge"
	"github.com/sluice-cd/sluice/tools/bench/internal/lab"
	"github.com/sluice-cd/sluice/tools/bench/internal/report"
	"github.com/sluice-cd/sluice/tools/bench/internal/workload"
)

// Options say how often things are repeated.
type Options struct {
	Pushes  int           // that change one application, or none
	Rounds  int           // commits that change all applications
	Spacing time.Duration // between two pushes; see Bench.rest
	Drift   time.Duration // how long a repair is waited for
	Idle    time.Duration // how long nothing happens
	Chains  int           // chains of dependencies
}

// Measurement is one of All.
type Measurement struct {
	Name string // for -rows
	Help string
	Run  func(*Bench, context.Context) ([]*report.Row, error)
}

// All are the measurements, in the order in which they run. The first one makes what the others need.
var All = []Measurement{
	{"install", "all applications, new", (*Bench).install},
	{"idle", "nothing happens", (*Bench).idle},
	{"all", "a commit that changes all applications", (*Bench).changeAll},
	{"one", "a commit that changes one application", (*Bench).changeOne},
	{"none", "a commit that touches no application", (*Bench).changeNone},
	{"drift", "someone edits a managed object by hand", (*Bench).drift},
	{"chain", "a chain of dependsOn in the wrong order", (*Bench).chain},
	{"sick", "applications that never become healthy, beside the others", (*Bench).sick},
	{"memory", "memory over all of the run", (*Bench).memory},
}

// Bench is the state between measurements.
type Bench struct {
	Lab     *lab.Lab
	Options Options

	apps    []string // names of the applications
	round   int      // of the base
	values  int      // of applications, so far
	edition int      // of what belongs to no application
	last    time.Time
	usages  []*gauge.Usage
}

// New makes a bench for a lab with nothing in it.
func New(l *lab.Lab, o Options) *Bench {
	b := &Bench{Lab: l, Options: o}
	for i := range l.Options.Apps {
		b.apps = append(b.apps, workload.AppName(i))
	}
	return b
}

// settle is how long after the last status the Events and other late effects are waited for.
const settle = 1500 * time.Millisecond

// measured calls do between two readings of all gauges.
func (b *Bench) measured(ctx context.Context, do func() error) (*gauge.Usage, error) {
	window, err := b.Lab.Meter.Begin(ctx)
	if err != nil {
		return nil, err
	}
	failure := do()
	if failure == nil {
		failure = pause(ctx, settle)
	}
	usage, err := window.End(context.WithoutCancel(ctx))
	if failure != nil {
		return nil, failure
	}
	if err == nil {
		b.usages = append(b.usages, usage)
	}
	return usage, err
}

// rest waits until an installation that paces each object to a burst of 4 runs and then one every 2 s has its full burst again, so
// that the pace is not what is measured.
func (b *Bench) rest(ctx context.Context) error {
	wait := b.Options.Spacing - time.Since(b.last)
	if err := pause(ctx, wait); err != nil {
		return err
	}
	b.last = time.Now()
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// allAt begins to wait until all applications are ready at a revision.
func (b *Bench) allAt(revision string) *lab.Wait[*kustomizev1.Kustomization] {
	return b.Lab.Apps.Expect(b.apps, func(_ string, k *kustomizev1.Kustomization) bool { return workload.IsReady(k, revision) })
}

// since turns the times at which things happened into how long they took, and the longest of these.
func since(started time.Time, times map[string]time.Time) (all []time.Duration, longest time.Duration) {
	for _, at := range times {
		took := max(at.Sub(started), 0)
		all, longest = append(all, took), max(longest, took)
	}
	return all, longest
}

// targetSize is the number of applications that the targets of rows are for, except where they name another.
const targetSize = 100

func (b *Bench) target(text string) string {
	if len(b.apps) != targetSize {
		return ""
	}
	return text
}

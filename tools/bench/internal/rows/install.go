package rows

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/tools/bench/internal/floor"
	"github.com/sluice-cd/sluice/tools/bench/internal/gauge"
	"github.com/sluice-cd/sluice/tools/bench/internal/lab"
	"github.com/sluice-cd/sluice/tools/bench/internal/report"
	"github.com/sluice-cd/sluice/tools/bench/internal/workload"
)

// install creates the source and all Kustomizations.
func (b *Bench) install(ctx context.Context) ([]*report.Row, error) {
	bare, err := b.floor(ctx, 0, 0)
	if err != nil {
		return nil, err
	}
	objects := []client.Object{workload.GitRepository(b.Lab.RepositoryURL(), b.Lab.Options.Interval)}
	for _, name := range b.apps {
		objects = append(objects, workload.Kustomization(name, workload.AppPath(name), b.Lab.Options.Interval))
	}
	row := &report.Row{Name: "install: all applications Ready", Of: "applications", Floor: bare, Target: b.target("≤ 3.5 s, ≤ 900 requests")}
	row.Usage, err = b.measured(ctx, func() error {
		started := time.Now()
		ready := b.allAt(b.Lab.Revision())
		if err := b.Lab.Create(ctx, objects...); err != nil {
			return err
		}
		times, err := ready.Within(ctx, b.Lab.Options.Timeout)
		row.Samples, row.Total = since(started, times)
		return err
	})
	return []*report.Row{row}, err
}

// changeAll changes every object of every application.
func (b *Bench) changeAll(ctx context.Context) ([]*report.Row, error) {
	row := &report.Row{Name: "a commit that changes all: all Ready", Of: "applications", Target: b.target("≤ 3.5 s, ≤ 900 requests")}
	var floors, totals []time.Duration
	var usages []*gauge.Usage
	for range b.Options.Rounds {
		b.round++
		bare, err := b.floor(ctx, b.round, 0)
		if err != nil {
			return nil, err
		}
		if err := b.rest(ctx); err != nil {
			return nil, err
		}
		var times []time.Duration
		var total time.Duration
		usage, err := b.measured(ctx, func() (err error) {
			times, total, err = b.pushToAll(ctx, workload.Round(b.round))
			return err
		})
		if err != nil {
			return nil, err
		}
		floors, totals, usages = append(floors, bare), append(totals, total), append(usages, usage)
		row.Samples = append(row.Samples, times...)
	}
	row.Floor, row.Total, row.Usage = report.Quantile(floors, 0.5), report.Quantile(totals, 0.5), gauge.Mean(usages)
	return []*report.Row{row}, b.verifyRound(ctx)
}

// pushToAll returns when each application was ready at the new revision, and the last of them.
func (b *Bench) pushToAll(ctx context.Context, files map[string]string) ([]time.Duration, time.Duration, error) {
	p, err := b.Lab.PreparePush(ctx, files)
	if err != nil {
		return nil, 0, err
	}
	ready := b.allAt(p.Revision)
	started, err := p.Land(ctx)
	if err != nil {
		return nil, 0, err
	}
	times, err := ready.Within(ctx, b.Lab.Options.Timeout)
	all, total := since(started, times)
	return all, total, err
}

// floor applies all objects of all applications by bare workers, into namespaces of their own.
func (b *Bench) floor(ctx context.Context, round, value int) (time.Duration, error) {
	var all []workload.Object
	for i := range b.apps {
		objects, err := workload.Objects(lab.FloorNamespace(i), round, value)
		if err != nil {
			return 0, err
		}
		all = append(all, objects...)
	}
	took, err := floor.ApplyAll(ctx, b.Lab.API, all)
	b.Lab.Say("floor: %d objects in %s", len(all), took.Round(time.Millisecond))
	return took, err
}

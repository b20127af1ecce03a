package rows

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/sluice-cd/sluice/tools/bench/internal/floor"
	"github.com/sluice-cd/sluice/tools/bench/internal/gauge"
	"github.com/sluice-cd/sluice/tools/bench/internal/lab"
	"github.com/sluice-cd/sluice/tools/bench/internal/report"
	"github.com/sluice-cd/sluice/tools/bench/internal/workload"
)

// changeOne changes one object of one application, another each time.
func (b *Bench) changeOne(ctx context.Context) ([]*report.Row, error) {
	bare, err := b.floorOfOne(ctx)
	if err != nil {
		return nil, err
	}
	object := &report.Row{Name: "a commit that changes one: push → object changed", Of: "pushes", Floor: bare, Target: b.target("p50 ≤ 0.3 s, p99 ≤ 1 s")}
	all := &report.Row{Name: "… → all Ready at the new revision", Of: "pushes", Target: b.target("≤ 2 s, ≤ 250 requests")}
	var usages []*gauge.Usage
	for range b.Options.Pushes {
		toObject, toAll, usage, err := b.changeOf(ctx, b.next())
		if err != nil {
			return nil, err
		}
		object.Samples, all.Samples, usages = append(object.Samples, toObject), append(all.Samples, toAll), append(usages, usage)
	}
	all.Usage = gauge.Mean(usages)
	object.Note = fmt.Sprintf("pushes are at least %s apart, so that the limit of runs of one object (4 at once, then one in 2 s) is not met", b.Options.Spacing)
	return []*report.Row{object, all}, nil
}

// next is the application that the next push changes: the steps visit them all, far from one another.
func (b *Bench) next() string {
	b.values++
	return b.apps[b.values*37%len(b.apps)]
}

// changeOf changes an application's ConfigMap by a push and returns how long it took until that was seen, and until all applications
// were ready.
func (b *Bench) changeOf(ctx context.Context, app string) (toObject, toAll time.Duration, usage *gauge.Usage, err error) {
	if err := b.rest(ctx); err != nil {
		return 0, 0, nil, err
	}
	usage, err = b.measured(ctx, func() error {
		value := strconv.Itoa(b.values)
		p, err := b.Lab.PreparePush(ctx, workload.Value(app, b.values))
		if err != nil {
			return err
		}
		ready := b.allAt(p.Revision)
		changed := b.Lab.Values.Expect([]string{app}, func(_, v string) bool { return v == value })
		started, err := p.Land(ctx)
		if err != nil {
			return err
		}
		times, err := changed.Within(ctx, b.Lab.Options.Timeout)
		if err != nil {
			return fmt.Errorf("change of %s: %w", app, err)
		}
		_, toObject = since(started, times)
		times, err = ready.Within(ctx, b.Lab.Options.Timeout)
		_, toAll = since(started, times)
		return err
	})
	return toObject, toAll, usage, err
}

// floorOfOne is the median time of one apply that changes a ConfigMap.
func (b *Bench) floorOfOne(ctx context.Context) (time.Duration, error) {
	var changes []workload.Object
	for i := range b.Options.Pushes {
		objects, err := workload.Objects(lab.FloorNamespace(0), b.round, 1000+i)
		if err != nil {
			return 0, err
		}
		changes = append(changes, objects[1])
	}
	times, err := floor.ApplyEach(ctx, b.Lab.API, changes)
	return report.Quantile(times, 0.5), err
}

// changeNone pushes commits that touch no application.
func (b *Bench) changeNone(ctx context.Context) ([]*report.Row, error) {
	row := &report.Row{Name: "a commit that touches none: all at the new revision", Of: "pushes", Target: b.target("≤ 2 s, ≤ 250 requests, 0 renders, 0 applies")}
	var usages []*gauge.Usage
	for range max(1, b.Options.Pushes/2) {
		if err := b.rest(ctx); err != nil {
			return nil, err
		}
		b.edition++
		usage, err := b.measured(ctx, func() error {
			_, total, err := b.pushToAll(ctx, workload.Unrelated(b.edition))
			row.Samples = append(row.Samples, total)
			return err
		})
		if err != nil {
			return nil, err
		}
		usages = append(usages, usage)
	}
	row.Usage = gauge.Mean(usages)
	row.Note = fmt.Sprintf("per push: %s applies of objects; runs of stage render that find the read-set unchanged render nothing", applies(row.Usage))
	return []*report.Row{row}, nil
}

func applies(u *gauge.Usage) string {
	var n float64
	for kind, count := range u.Requests {
		if kind.Verb == "APPLY" {
			n += count
		}
	}
	return strconv.FormatFloat(n, 'f', -1, 64)
}

package rows

import (
	"context"
	"fmt"

	"github.com/sluice-cd/sluice/tools/bench/internal/gauge"
	"github.com/sluice-cd/sluice/tools/bench/internal/report"
)

// idle looks on while nothing happens.
func (b *Bench) idle(ctx context.Context) ([]*report.Row, error) {
	if err := b.rest(ctx); err != nil {
		return nil, err
	}
	row := &report.Row{Name: fmt.Sprintf("nothing happens for %s", b.Options.Idle), Target: b.target("≤ 10 requests, ~0 CPU in 1 minute")}
	var err error
	row.Usage, err = b.measured(ctx, func() error { return pause(ctx, b.Options.Idle) })
	row.Note = fmt.Sprintf("intervals are %s, so none ends meanwhile", b.Lab.Options.Interval)
	return []*report.Row{row}, err
}

// memory sums up what was measured before.
func (b *Bench) memory(context.Context) ([]*report.Row, error) {
	row := &report.Row{Name: fmt.Sprintf("peak memory over all of the run, %d applications", len(b.apps)), Target: "≤ 300 MiB at 1,000"}
	if all := gauge.Mean(b.usages); all != nil {
		row.Usage = &gauge.Usage{Peak: all.Peak, PeakTogether: all.PeakTogether}
	}
	return []*report.Row{row}, nil
}

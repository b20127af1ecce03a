package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/sluice-cd/sluice/tools/bench/internal/gauge"
	"github.com/sluice-cd/sluice/tools/bench/internal/lab"
	"github.com/sluice-cd/sluice/tools/bench/internal/report"
	"github.com/sluice-cd/sluice/tools/bench/internal/rows"
)

// run measures and writes to out what it found, also when a row fails.
func run(ctx context.Context, o *options, out io.Writer) (err error) {
	load := lab.Load()
	l, err := lab.Start(ctx, o.lab)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Stop()) }()
	result := &report.Report{At: time.Now(), Settings: settings(o)}
	if result.Machine, err = l.Describe(ctx, load); err != nil {
		return err
	}
	failure := measure(ctx, o, l, result)
	return errors.Join(failure, write(o, result, out))
}

func settings(o *options) map[string]string {
	return map[string]string{
		"applications": strconv.Itoa(o.lab.Apps), "interval": o.lab.Interval.String(), "bus sync interval": o.lab.SyncInterval.String(),
		"spacing of pushes": o.bench.Spacing.String(),
	}
}

func measure(ctx context.Context, o *options, l *lab.Lab, result *report.Report) error {
	bench := rows.New(l, o.bench)
	for i, m := range rows.All {
		if i > 0 && !o.wants(m.Name) {
			continue
		}
		l.Say("%s: %s", m.Name, m.Help)
		stop := func() error { return nil }
		if o.profiles != "" {
			stop = gauge.Profile(ctx, l.Meter.Metrics, o.profiles, m.Name)
		}
		found, err := m.Run(bench, ctx)
		if err := errors.Join(err, stop()); err != nil {
			return fmt.Errorf("row %s: %w", m.Name, err)
		}
		if o.wants(m.Name) {
			result.Rows = append(result.Rows, found...)
		}
	}
	return nil
}

func write(o *options, result *report.Report, out io.Writer) error {
	if o.markdown != "" {
		file, err := os.Create(o.markdown)
		if err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
		if err := errors.Join(result.Markdown(file), file.Close()); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	if o.json {
		return result.JSON(out)
	}
	return result.Text(out)
}

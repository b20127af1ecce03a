package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/tools/bench/internal/lab"
	"github.com/sluice-cd/sluice/tools/bench/internal/rows"
)

type options struct {
	lab   lab.Options
	bench rows.Options

	rows     []string // of rows.All
	json     bool
	markdown string // file
	profiles string // folder
}

func parse(args []string) (*options, error) {
	o := &options{}
	o.lab.Progress = os.Stderr
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&o.lab.Apps, "apps", 100, "`number` of applications, of four objects each")
	f.DurationVar(&o.lab.Interval, "interval", time.Hour, "interval of the source and of all applications")
	f.DurationVar(&o.lab.Timeout, "timeout", 5*time.Minute, "how long anything is waited for")
	f.DurationVar(&o.lab.SyncInterval, "sync-interval", 0, "longest time between a write of the bus and its fsync; 0 syncs every write")
	f.BoolVar(&o.lab.Keep, "keep", false, "leave the folder with data and logs, and say where it is")
	f.IntVar(&o.bench.Pushes, "pushes", 20, "`number` of pushes that change one application; of those that touch none half as many")
	f.IntVar(&o.bench.Rounds, "rounds", 3, "`number` of pushes that change all applications")
	f.IntVar(&o.bench.Chains, "chains", 5, "`number` of chains of dependencies")
	f.DurationVar(&o.bench.Spacing, "spacing", 5*time.Second, "time between pushes; more than 4s keeps clear of the limit of runs of one object")
	f.DurationVar(&o.bench.Drift, "drift", 10*time.Second, "how long a repair of drift is waited for")
	f.DurationVar(&o.bench.Idle, "idle", time.Minute, "how long nothing happens")
	f.BoolVar(&o.json, "json", false, "print JSON with all samples")
	f.StringVar(&o.markdown, "o", "", "write the table as Markdown to a `file` too")
	f.StringVar(&o.profiles, "cpuprofile", "", "write processor profiles of the services, by row, into a `folder`")
	level := f.String("log-level", "info", "log `level` of the services; debug shows when each run begins and ends, see -keep")
	selected := f.String("rows", "", "measure only these `rows`, separated by commas: "+help())
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	o.lab.Flags = append(o.lab.Flags, "--log-level="+*level)
	return o, o.check(*selected)
}

func help() string {
	var b strings.Builder
	for _, m := range rows.All {
		fmt.Fprintf(&b, "\n%-8s %s", m.Name, m.Help)
	}
	return b.String()
}

func (o *options) check(selected string) error {
	for _, name := range strings.FieldsFunc(selected, func(r rune) bool { return r == ',' }) {
		if !slices.ContainsFunc(rows.All, func(m rows.Measurement) bool { return m.Name == name }) {
			return fmt.Errorf("-rows: no row %q", name)
		}
		o.rows = append(o.rows, name)
	}
	if o.lab.Apps < 1 || o.bench.Pushes < 1 || o.bench.Rounds < 1 || o.bench.Chains < 1 {
		return fmt.Errorf("-apps, -pushes, -rounds and -chains: want at least 1")
	}
	if o.profiles != "" {
		o.lab.Flags = append(o.lab.Flags, "--pprof")
	}
	return nil
}

// wants says whether a row is to be shown. The first one is measured in any case.
func (o *options) wants(name string) bool { return len(o.rows) == 0 || slices.Contains(o.rows, name) }

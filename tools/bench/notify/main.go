// Command notify measures what it takes to tell a chat, a system that takes events and a git host of a commit that touches many applications: it starts
// an API server, Sluice and the three on this machine, pushes, and prints what it found.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sluice-cd/sluice/tools/bench/internal/gauge"
)

// options say how much is measured.
type options struct {
	apps     int
	rounds   int           // commits that touch all of them
	takes    time.Duration // for each request to a service
	profiles string
	keep     bool
	progress io.Writer
}

func parse(args []string) (*options, error) {
	o := &options{progress: os.Stderr}
	f := flag.NewFlagSet("notify", flag.ContinueOnError)
	f.IntVar(&o.apps, "apps", 1000, "`number` of applications")
	f.IntVar(&o.rounds, "rounds", 2, "`number` of commits that touch all of them")
	f.DurationVar(&o.takes, "takes", 20*time.Millisecond, "how long each service takes for a request")
	f.StringVar(&o.profiles, "profiles", "", "`folder` for profiles of the services; empty for none")
	f.BoolVar(&o.keep, "keep", false, "leave the folder with data and logs, and say where it is")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if o.apps < 1 || o.rounds < 1 || o.takes < 0 {
		return nil, errors.New("-apps, -rounds: want at least 1; -takes: at least 0")
	}
	return o, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parse(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "notify:", err)
		os.Exit(2)
	}
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "notify:", err)
		os.Exit(1)
	}
}

// run measures each round and prints its lines when they are known.
func run(ctx context.Context, o *options, out io.Writer) (err error) {
	b, err := start(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	for n := range o.rounds {
		end := func() error { return nil }
		if o.profiles != "" {
			end = gauge.Profile(ctx, b.Meter.Metrics, o.profiles, fmt.Sprint("round-", n+1))
		}
		found, err := b.round(ctx, n+1)
		if err := errors.Join(err, end()); err != nil {
			return fmt.Errorf("round %d: %w", n+1, err)
		}
		found.print(out)
	}
	return nil
}

// Command webhooks measures how many calls of hosts webhook-receiver takes, how long they wait for an answer that means that they are durable,
// and whether any is lost when the bus is killed in between: it starts an API server and Sluice on this machine, and prints what it found.
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
)

// options say how much is measured.
type options struct {
	rate      int           // calls per second
	duration  time.Duration // of the first part
	killRate  int           // calls per second of the second part
	kill      time.Duration // duration of the second part; 0 for leaving it out
	receivers int           // that the calls are for
	callers   int           // connections
	bin       string
	profile   string
	keep      bool
	progress  io.Writer
}

func parse(args []string) (*options, error) {
	o := &options{progress: os.Stderr}
	f := flag.NewFlagSet("webhooks", flag.ContinueOnError)
	f.IntVar(&o.rate, "rate", 2000, "calls per second")
	f.DurationVar(&o.duration, "duration", time.Minute, "how long")
	f.IntVar(&o.killRate, "kill-rate", 500, "calls per second while the bus is killed")
	f.DurationVar(&o.kill, "kill", 20*time.Second, "how long calls come while the bus is killed in the middle; 0 for not at all")
	f.IntVar(&o.receivers, "receivers", 100, "`number` of Receivers that the calls are for")
	f.IntVar(&o.callers, "callers", 128, "`number` of connections")
	f.StringVar(&o.bin, "bin", "", "`folder` with the programs, used as they are; empty builds them")
	f.StringVar(&o.profile, "profile", "", "`file` for a profile of webhook-receiver's processor time in the first part")
	f.BoolVar(&o.keep, "keep", false, "leave the folder with data and logs, and say where it is")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if o.rate < 1 || o.killRate < 1 || o.receivers < 1 || o.callers < 1 || o.duration <= 0 {
		return nil, errors.New("-rate, -kill-rate, -receivers, -callers, -duration: want at least 1")
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
		fmt.Fprintln(os.Stderr, "webhooks:", err)
		os.Exit(2)
	}
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "webhooks:", err)
		os.Exit(1)
	}
}

// run measures one thing after the other and prints each line as it is known.
func run(ctx context.Context, o *options, out io.Writer) (err error) {
	b, err := start(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Stop()) }()
	for _, measure := range []func(context.Context) ([]string, error){b.steady, b.killed} {
		lines, err := measure(ctx)
		for _, line := range lines {
			fmt.Fprintln(out, line)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Command images measures how fast images are scanned, and how fast a pushed image becomes a commit: it starts an API server, a git server,
// a registry that counts, and Sluice on this machine, and prints what it found.
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
	images, tags  int // of the scan
	pushes        int // of single images, one after the other
	policies      int // that change at once
	files         int // of the repository that they are in
	concurrency   int // scans at once, and connections of the bare client
	timeout, rest time.Duration
	keep          bool
	progress      io.Writer
}

func parse(args []string) (*options, error) {
	o := &options{progress: os.Stderr}
	f := flag.NewFlagSet("images", flag.ContinueOnError)
	f.IntVar(&o.images, "images", 1000, "`number` of images that are scanned")
	f.IntVar(&o.tags, "tags", 100, "`number` of tags of each")
	f.IntVar(&o.pushes, "pushes", 20, "`number` of images that are pushed one after the other")
	f.IntVar(&o.policies, "policies", 200, "`number` of policies that change at once")
	f.IntVar(&o.files, "files", 400, "`number` of files of the repository; at least one for each policy")
	f.IntVar(&o.concurrency, "concurrency", 16, "scans at once, and connections of the bare client")
	f.DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long anything is waited for")
	f.DurationVar(&o.rest, "rest", 5*time.Second, "time between two pushes; more than 4s keeps clear of the limit of runs of one object")
	f.BoolVar(&o.keep, "keep", false, "leave the folder with data and logs, and say where it is")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if o.images < 1 || o.tags < 1 || o.pushes < 1 || o.policies < 1 || o.files < o.policies || o.concurrency < 1 {
		return nil, errors.New("-images, -tags, -pushes, -policies, -concurrency: want at least 1; -files: want at least -policies")
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
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(2)
	}
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

// run measures one thing after the other and prints each line as it is known.
func run(ctx context.Context, o *options, out io.Writer) (err error) {
	l, err := start(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	for _, measure := range []func(context.Context) ([]string, error){l.scan, l.rescan, l.push, l.burst} {
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

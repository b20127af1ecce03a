// Command images measures how fast images are scanned, and how fast a pushed image becomes a commit: it starts an API server, a git server,
// registries that count, and Sluice on this machine, and prints what it found.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options say how much is measured.
type options struct {
	images, tags  int // of the scan
	pushes        int // of single images, one after the other
	policies      int // that change at once
	files         int // of the repository that they are in
	builds        int // tags of each image that is ordered by build time
	rps           float64
	burst         int
	concurrency   int // scans at once, and connections of the bare client
	timeout, rest time.Duration
	keep          bool
	latency       time.Duration // of a registry that is not on this machine
	interval      time.Duration // of images in a real registry
	bin           string        // folder with programs; empty to build them
	profiles      string        // folder for profiles of the services while they scan; empty for none
	redis         string        // program of the cache; empty for the embedded one
	only          []string
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
	f.IntVar(&o.builds, "builds", 200, "`number` of tags of each image that is ordered by build time")
	f.Float64Var(&o.rps, "rps", 1000, "`requests` per second that the registry allows for images that are ordered by build time")
	f.IntVar(&o.burst, "burst", 20, "`requests` that it allows at once then")
	f.IntVar(&o.concurrency, "concurrency", 16, "scans at once, and connections of the bare client")
	f.DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long anything is waited for, beside what a budget takes")
	f.DurationVar(&o.rest, "rest", 5*time.Second, "time between two pushes; more than 4s keeps clear of the limit of runs of one object")
	f.BoolVar(&o.keep, "keep", false, "leave the folder with data and logs, and say where it is")
	f.DurationVar(&o.latency, "latency", 50*time.Millisecond, "of a registry that is not on this machine, which is scanned for the first time, too; 0 for none")
	f.DurationVar(&o.interval, "interval", time.Minute, "of the images in a real registry; longer than their first scan takes")
	f.StringVar(&o.profiles, "profiles", "", "`folder` for profiles of the services while they scan, which takes a part of the machine; empty for none")
	f.StringVar(&o.redis, "redis", "", "`program` of a Redis or Valkey server; empty for the embedded cache")
	only := f.String("only", "scan,real,push,burst", "`parts` to measure, of "+strings.Join(parts(), ","))
	f.StringVar(&o.bin, "bin", "", "`folder` with the programs; empty builds them")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if o.builds < 2 || o.rps <= 0 || o.burst < 1 {
		return nil, errors.New("-builds: want at least 2; -rps: want more than 0; -burst: want at least 1")
	}
	if o.images < 1 || o.tags < 1 || o.pushes < 1 || o.policies < 1 || o.files < o.policies || o.concurrency < 1 {
		return nil, errors.New("-images, -tags, -pushes, -policies, -concurrency: want at least 1; -files: want at least -policies")
	}
	o.only = strings.Split(*only, ",")
	for _, part := range o.only {
		if !slices.Contains(parts(), part) {
			return nil, fmt.Errorf("-only %s: want some of %v", part, parts())
		}
	}
	if slices.Contains(o.only, "newest") {
		o.timeout += time.Duration(float64(o.images*o.builds*requestsPerBuild) / o.rps * float64(time.Second))
	}
	return o, nil
}

// parts are what can be measured, in order.
func parts() []string { return []string{"scan", "real", "push", "burst", "newest"} }

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
	measures := map[string]func(context.Context) ([]string, error){"scan": l.scans, "real": l.real, "push": l.push, "burst": l.burst, "newest": l.newest}
	for _, part := range o.only {
		lines, err := measures[part](ctx)
		for _, line := range lines {
			fmt.Fprintln(out, line)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

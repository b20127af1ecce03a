// Command controlplane builds and runs a Kubernetes control plane for tests,
// the demo and the benchmarks.
//
//	go run ./tools/cmd/controlplane build
//	go run ./tools/cmd/controlplane run --dir DIR [--controllers] [--scheduler]
//
// The first form builds the programs into the cache and prints where they are.
// The second prints the path of a kubeconfig file as its only line on standard
// output once the API server serves, and stays until SIGINT or SIGTERM.
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

	"github.com/sluice-cd/sluice/libs/controlplane"
)

const usage = `usage:
  controlplane build
  controlplane run [--dir DIR] [--controllers] [--scheduler]`

var errUsage = errors.New(usage)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := command(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "controlplane:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errUsage
	}
	switch args[0] {
	case "build":
		return build(ctx, args[1:], out)
	case "run":
		return run(ctx, args[1:], out)
	default:
		return errUsage
	}
}

func build(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 {
		return errUsage
	}
	assets, err := controlplane.Binary(ctx, os.Stderr)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, assets)
	return err
}

func run(ctx context.Context, args []string, out io.Writer) error {
	options, err := runOptions(args)
	if err != nil {
		return err
	}
	c, err := controlplane.Start(ctx, options)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, c.Kubeconfig()); err != nil {
		return errors.Join(err, c.Stop())
	}
	<-ctx.Done()
	return c.Stop()
}

func runOptions(args []string) (controlplane.Options, error) {
	options := controlplane.Options{Progress: os.Stderr}
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	flags.StringVar(&options.Dir, "dir", "", "folder for data, certificates, kubeconfig and logs, kept at the end (default a temporary one)")
	flags.BoolVar(&options.ControllerManager, "controllers", false, "run kube-controller-manager too")
	flags.BoolVar(&options.Scheduler, "scheduler", false, "run kube-scheduler too")
	if err := flags.Parse(args); err != nil {
		return options, err
	}
	if flags.NArg() > 0 {
		return options, errUsage
	}
	return options, nil
}

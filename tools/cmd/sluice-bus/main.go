// Command sluice-bus is the NATS server with JetStream that is built in, as a program of its own: `sluice nats-server` is the same in a
// program that holds all services, too, and so takes more memory.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/sluice-cd/sluice/libs/version"
	"github.com/sluice-cd/sluice/tools/internal/busserver"
)

func main() {
	var o busserver.Options
	f := pflag.NewFlagSet("sluice-bus", pflag.ContinueOnError)
	o.AddFlags(f)
	show := f.Bool("version", false, "print the version and exit")
	switch err := f.Parse(os.Args[1:]); {
	case errors.Is(err, pflag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "sluice-bus:", err)
		os.Exit(2)
	case *show:
		fmt.Println("sluice-bus", version.Version)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := busserver.Run(ctx, &o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sluice-bus:", err)
		os.Exit(1)
	}
}

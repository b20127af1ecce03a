// Package busserver runs the NATS server that is built in, alone, for services that run as separate processes on a machine without NATS.
// It imports little: what a program links counts as its memory.
package busserver

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/sluice-cd/sluice/libs/bus/embedded"
	"github.com/sluice-cd/sluice/libs/heap"
	"github.com/sluice-cd/sluice/libs/logs"
)

// Options of the server.
type Options struct {
	DataDir      string // of JetStream's files
	Addr         string // host:port; port 0 takes a free one
	SyncInterval time.Duration
	PprofPort    int // 0 for none
	Logs         logs.Config
}

// AddFlags defines a flag for each setting.
func (o *Options) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.DataDir, "data-dir", "", "directory of JetStream's files")
	f.StringVar(&o.Addr, "addr", "127.0.0.1:4222", "listen address; port 0 takes a free one")
	f.DurationVar(&o.SyncInterval, "sync-interval", 0, "longest time between a write and its fsync; 0 syncs every write")
	f.IntVar(&o.PprofPort, "pprof-port", 0, "serve profiles of this process under /debug/pprof/ at this port of the host of --addr; 0 for none")
	o.Logs.AddFlags(f)
}

// garbagePercent is low: most of what the server holds are few large buffers, of which one collection costs next to nothing.
const garbagePercent = 20

// Run serves until ctx ends, and says on one line to out when it is ready.
func Run(ctx context.Context, o *Options, out io.Writer) error {
	if o.DataDir == "" {
		return fmt.Errorf("--data-dir is missing")
	}
	log, err := o.Logs.Logger()
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(o.Addr)
	if err != nil {
		return fmt.Errorf("--addr %q: %w", o.Addr, err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("--addr %q: %w", o.Addr, err)
	}
	heap.Trim(garbagePercent)
	server, err := embedded.Start(embedded.Options{
		Dir: o.DataDir, Listen: true, Host: host, Port: number, SyncInterval: o.SyncInterval, PprofPort: o.PprofPort, Log: log,
		Hangs: embedded.StartAnew(log),
	})
	if err != nil {
		return err
	}
	defer server.Stop()
	fmt.Fprintln(out, "ready:", server.ClientURL())
	<-ctx.Done()
	return nil
}

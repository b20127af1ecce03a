package cli

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/service"
)

// newBus serves the embedded NATS server alone, for services as separate processes on a machine that has no NATS.
func newBus() *cobra.Command {
	var dir, addr string
	var sync time.Duration
	logs := &service.Config{}
	cmd := &cobra.Command{
		Use:   "nats-server --data-dir DIR",
		Short: "Run the NATS server that is built in, alone",
		Long: "Run the NATS server with JetStream that is built in, so that services can run as separate processes on a machine without NATS.\n" +
			"It has no authentication and listens on loopback unless told otherwise.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logs.Logger()
			if err != nil {
				return err
			}
			host, port, err := net.SplitHostPort(addr)
			if err != nil {
				return fmt.Errorf("--addr %q: %w", addr, err)
			}
			number, err := strconv.Atoi(port)
			if err != nil {
				return fmt.Errorf("--addr %q: %w", addr, err)
			}
			server, err := bus.StartEmbedded(bus.EmbeddedOptions{Dir: dir, Listen: true, Host: host, Port: number, SyncInterval: sync, Log: log})
			if err != nil {
				return err
			}
			defer server.Stop()
			fmt.Fprintln(cmd.OutOrStdout(), "ready:", server.ClientURL())
			<-cmd.Context().Done()
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "data-dir", "", "directory of JetStream's files")
	cmd.Flags().StringVar(&addr, "addr", "127.0.0.1:4222", "listen address; port 0 takes a free one")
	cmd.Flags().DurationVar(&sync, "sync-interval", 0, "longest time between a write and its fsync; 0 syncs every write")
	logs.AddLogFlags(cmd.Flags())
	_ = cmd.MarkFlagRequired("data-dir")
	return cmd
}

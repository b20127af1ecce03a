package cli

import (
	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/tools/internal/busserver"
)

// newBus serves the embedded NATS server alone, for services as separate processes on a machine that has no NATS.
func newBus() *cobra.Command {
	var o busserver.Options
	cmd := &cobra.Command{
		Use:   "nats-server --data-dir DIR",
		Short: "Run the NATS server that is built in, alone",
		Long: "Run the NATS server with JetStream that is built in, so that services can run as separate processes on a machine without NATS.\n" +
			"It has no authentication and listens on loopback unless told otherwise. The program sluice-bus is the same in a small program.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return busserver.Run(cmd.Context(), &o, cmd.OutOrStdout()) },
	}
	o.AddFlags(cmd.Flags())
	_ = cmd.MarkFlagRequired("data-dir")
	return cmd
}

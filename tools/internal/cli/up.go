package cli

import (
	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/tools/internal/up"
)

func newUp() *cobra.Command {
	o := up.DefaultOptions()
	cmd := &cobra.Command{
		Use:   "up --kubeconfig FILE --data-dir DIR",
		Short: "Run all of Sluice in one process",
		Long: "Run all services in one process, with an embedded NATS server that keeps its files in the data directory.\n" +
			"Prints one line when it is ready, and stops cleanly on SIGTERM or Ctrl-C.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return up.Run(cmd.Context(), o, cmd.OutOrStdout()) },
	}
	o.AddFlags(cmd.Flags())
	_ = cmd.MarkFlagRequired("data-dir")
	return cmd
}

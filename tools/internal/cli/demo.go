package cli

import (
	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/tools/internal/demo"
)

func newDemo() *cobra.Command {
	o := demo.DefaultOptions()
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show Sluice at work on this machine",
		Long: "Start a Kubernetes API server, a git server with an example repository and all services of Sluice on this machine, push a series of\n" +
			"commits, and show what becomes of each and when. Needs git, and Go where the API server has still to be built.\n" +
			"Everything that was started ends with it.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Progress = cmd.ErrOrStderr()
			return demo.Run(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	o.AddFlags(cmd.Flags())
	return cmd
}

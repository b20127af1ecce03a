package cli

import (
	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/tools/internal/letters"
)

// newNotifications lists what is to be told outside and what could not be told, and sends that again.
func newNotifications() *cobra.Command {
	var o letters.Options
	cmd := &cobra.Command{
		Use:   "notifications",
		Short: "List notifications that wait or could not be sent, and send those again",
		Long: "Notifications wait in an outbox on the bus until the service that is told takes them. What a service refuses, or does not take in time,\n" +
			"becomes a dead letter, which is kept for 30 days: send it again when the cause is mended, or drop it.",
	}
	o.AddBusFlags(cmd.PersistentFlags())
	list := &cobra.Command{
		Use: "list", Short: "List what waits, and dead letters", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return letters.List(cmd.Context(), &o, cmd.OutOrStdout()) },
	}
	resend := &cobra.Command{
		Use: "resend [ID...]", Short: "Send dead letters again",
		Long: "Send dead letters again: those with an ID that begins as given, or all that the flags select.",
		RunE: func(cmd *cobra.Command, ids []string) error {
			return letters.Resend(cmd.Context(), &o, ids, cmd.OutOrStdout())
		},
	}
	drop := &cobra.Command{
		Use: "drop [ID...]", Short: "Forget dead letters",
		Long: "Forget dead letters: those with an ID that begins as given, or all that the flags select. With --pending also those that still wait.",
		RunE: func(cmd *cobra.Command, ids []string) error {
			return letters.Drop(cmd.Context(), &o, ids, cmd.OutOrStdout())
		},
	}
	for _, c := range []*cobra.Command{list, resend, drop} {
		o.AddSelectFlags(c.Flags())
	}
	drop.Flags().BoolVar(&o.Pending, "pending", false, "drop what still waits, too")
	for _, c := range []*cobra.Command{resend, drop} {
		c.Flags().BoolVar(&o.All, "all", false, "take all that the other flags select, without naming any")
	}
	cmd.AddCommand(list, resend, drop)
	return cmd
}

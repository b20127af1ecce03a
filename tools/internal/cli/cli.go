// Package cli defines the commands of sluice and their flags. What a command does is in a package of its own.
package cli

import (
	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/libs/version"
)

// New makes the command line.
func New() *cobra.Command {
	root := &cobra.Command{
		Use:   "sluice",
		Short: "Continuous delivery for Kubernetes by GitOps",
		Long: "Sluice keeps Kubernetes clusters equal to what Git says: a push becomes cluster state within a second.\n" +
			"It serves Flux's custom resources, so manifests and tools made for Flux work unchanged.",
		Version:       version.Version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newUp(), newDemo(), newBus(), newCache(), newNotifications())
	return root
}

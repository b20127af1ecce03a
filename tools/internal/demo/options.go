package demo

import (
	"io"
	"os"
	"time"

	"github.com/spf13/pflag"
)

// EnvExit names the environment variable that, set to anything but 0, ends the demo after its last commit.
const EnvExit = "DEMO_EXIT"

// Options of `sluice demo`.
type Options struct {
	Kubeconfig        string        // of a cluster to use in place of a new control plane
	ControllerManager bool          // of the new control plane: Deployments get ReplicaSets
	Pause             time.Duration // between pushes, to read and since nobody pushes without one
	Exit              bool          // end after the last commit
	Keep              bool          // keep the folder with data and logs

	BinDir   string    // holds sluice and the services; empty for where this program is
	Progress io.Writer // gets how far the build of the control plane is
}

// DefaultOptions returns the settings of `make demo`.
func DefaultOptions() *Options {
	exit := os.Getenv(EnvExit)
	return &Options{ControllerManager: true, Pause: 4 * time.Second, Exit: exit != "" && exit != "0"}
}

// AddFlags defines a flag for each setting.
func (o *Options) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Kubeconfig, "kubeconfig", "", "kubeconfig file of a cluster to use; empty starts a control plane for the demo")
	f.BoolVar(&o.ControllerManager, "controller-manager", o.ControllerManager, "let Deployments get ReplicaSets in the demo's own control plane")
	f.DurationVar(&o.Pause, "pause", o.Pause, "time between two pushes")
	f.BoolVar(&o.Exit, "exit", o.Exit, "end after the last commit instead of staying up; also by "+EnvExit+"=1")
	f.BoolVar(&o.Keep, "keep", false, "keep the folder with data and logs")
}

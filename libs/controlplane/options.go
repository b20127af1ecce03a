package controlplane

import (
	"io"
	"os"
	"time"
)

// EnvKubeconfig names the environment variable with the kubeconfig file of a
// given cluster, which StartOrUse then uses in place of a new control plane.
const EnvKubeconfig = "SLUICE_TEST_KUBECONFIG"

// defaultStartTimeout bounds the start of all servers, not the build of their
// programs.
const defaultStartTimeout = 90 * time.Second

// Options say what to start. The zero value is an API server and its etcd in
// a temporary folder.
type Options struct {
	// Dir holds data, certificates, the kubeconfig file and logs. It is made
	// when missing and kept by Stop; a later Start on it finds the same
	// objects. Empty means a temporary folder that Stop removes.
	Dir string

	// ControllerManager also runs kube-controller-manager: Deployments get
	// their Pods, owned objects are collected, deleted namespaces go away.
	ControllerManager bool

	// Scheduler also runs kube-scheduler.
	Scheduler bool

	// APIServerFlags are more flags for kube-apiserver, each "--name=value".
	// One that names a flag of ours takes its place.
	APIServerFlags []string

	// Kubeconfig is the file of a given cluster, for StartOrUse only. Empty
	// means the one that EnvKubeconfig names, if any.
	Kubeconfig string

	// Assets are the programs to run. The zero value means those Binary finds.
	Assets Assets

	// StartTimeout bounds the start of the servers. Zero means 90 seconds. Only
	// the context bounds the build of the programs.
	StartTimeout time.Duration

	// Progress receives lines about a build of the programs. Nil means none.
	Progress io.Writer
}

func (o Options) startTimeout() time.Duration {
	if o.StartTimeout > 0 {
		return o.StartTimeout
	}
	return defaultStartTimeout
}

func (o Options) givenKubeconfig() string {
	if o.Kubeconfig != "" {
		return o.Kubeconfig
	}
	return os.Getenv(EnvKubeconfig)
}

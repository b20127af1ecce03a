package controlplane

import (
	"errors"
	"sync"

	"k8s.io/client-go/rest"

	"github.com/sluice-cd/sluice/libs/process"
	"github.com/sluice-cd/sluice/libs/tempdir"
)

// stdinVariable tells a program of tools/controlplane to end when its standard
// input does, which is when this process has ended.
const stdinVariable = "SLUICE_CONTROLPLANE_STDIN"

// ErrGiven says that a control plane was given, not started here, so it cannot
// be stopped or looked into.
var ErrGiven = errors.New("the control plane was given, not started here")

// ControlPlane is a running control plane, or a given cluster. Its methods may
// be called by many goroutines.
type ControlPlane struct {
	options    Options
	dir        string
	temporary  *tempdir.Dir // nil for a given folder
	given      bool
	port       int
	etcdPort   int
	kubeconfig string
	config     *rest.Config

	mu        sync.Mutex // guards the servers
	etcd      *process.Process
	apiServer *process.Process
	clients   []*process.Process // controller manager and scheduler
	stopped   bool
}

// Kubeconfig returns the path of the kubeconfig file, which holds the
// administrator's token.
func (c *ControlPlane) Kubeconfig() string { return c.kubeconfig }

// RESTConfig returns a new configuration for an administrator's client that
// keeps no rate limit of its own.
func (c *ControlPlane) RESTConfig() *rest.Config { return rest.CopyConfig(c.config) }

// Dir returns the folder with data, certificates and logs. It is empty for a
// given cluster.
func (c *ControlPlane) Dir() string { return c.dir }

// Given tells whether this is a given cluster, which others may use and which
// cannot be stopped.
func (c *ControlPlane) Given() bool { return c.given }

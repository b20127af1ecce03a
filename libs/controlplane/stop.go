package controlplane

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluice-cd/sluice/libs/process"
)

// stopGrace is how long a server has to end before it is killed.
const stopGrace = 5 * time.Second

// Stop ends the servers, by force where they do not end soon or where the
// folder is a temporary one, which it removes. It does nothing the second time, and to a
// given cluster.
func (c *ControlPlane) Stop() error {
	if c.given {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return nil
	}
	c.stopped = true
	var errs []error
	for _, p := range append(c.clients, c.apiServer, c.etcd) {
		if p != nil {
			errs = append(errs, c.stopServer(p))
		}
	}
	return errors.Join(append(errs, c.removeDir())...)
}

// stopServer kills at once where the data go too: an API server takes a second
// to end by itself.
func (c *ControlPlane) stopServer(p *process.Process) error {
	if c.temporary != nil {
		return p.Kill()
	}
	return errors.Join(p.Resume(), p.Stop(stopGrace))
}

// StopAPIServer ends the API server and leaves etcd and the others running, as
// an outage does. It returns ErrGiven for a given cluster.
func (c *ControlPlane) StopAPIServer() error {
	if c.given {
		return ErrGiven
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.apiServer == nil {
		return nil
	}
	err := errors.Join(c.apiServer.Resume(), c.apiServer.Stop(stopGrace))
	c.apiServer = nil
	return err
}

// StartAPIServer starts a stopped API server again on the same port and data,
// and returns when it serves. It does nothing to a running one, and returns
// ErrGiven for a given cluster.
func (c *ControlPlane) StartAPIServer(ctx context.Context) error {
	if c.given {
		return ErrGiven
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return fmt.Errorf("start the API server: the control plane is stopped")
	}
	if c.apiServer != nil && !c.apiServer.Ended() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.options.startTimeout())
	defer cancel()
	p, err := c.launch(ctx, apiServerProgram, c.apiServerFlags(), c.apiServerReady)
	if err != nil {
		return fmt.Errorf("start the API server: %w", err)
	}
	c.apiServer = p
	return nil
}

package controlplane

import (
	"errors"

	"github.com/sluice-cd/sluice/libs/process"
)

var errNotRunning = errors.New("the API server does not run")

// PauseAPIServer freezes the API server: connections stay open and get no
// answer. It returns ErrGiven for a given cluster.
func (c *ControlPlane) PauseAPIServer() error {
	return c.signalAPIServer((*process.Process).Pause)
}

// ResumeAPIServer lets a paused API server go on. It returns ErrGiven for a
// given cluster.
func (c *ControlPlane) ResumeAPIServer() error {
	return c.signalAPIServer((*process.Process).Resume)
}

func (c *ControlPlane) signalAPIServer(signal func(*process.Process) error) error {
	if c.given {
		return ErrGiven
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.apiServer == nil || c.apiServer.Ended() {
		return errNotRunning
	}
	return signal(c.apiServer)
}

package controlplane

import "errors"

var errNotRunning = errors.New("the API server does not run")

// PauseAPIServer freezes the API server: connections stay open and get no
// answer. It returns ErrGiven for a given cluster.
func (c *ControlPlane) PauseAPIServer() error {
	return c.signalAPIServer((*process).pause)
}

// ResumeAPIServer lets a paused API server go on. It returns ErrGiven for a
// given cluster.
func (c *ControlPlane) ResumeAPIServer() error {
	return c.signalAPIServer((*process).resume)
}

func (c *ControlPlane) signalAPIServer(signal func(*process) error) error {
	if c.given {
		return ErrGiven
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.apiServer == nil || c.apiServer.ended() {
		return errNotRunning
	}
	return signal(c.apiServer)
}

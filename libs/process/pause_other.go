//go:build !unix

package process

import "errors"

// Pause is not to be had here.
func (p *Process) Pause() error { return errors.ErrUnsupported }

// Resume does nothing here.
func (p *Process) Resume() error { return nil }

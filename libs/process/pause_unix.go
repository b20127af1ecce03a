//go:build unix

package process

import "syscall"

// Pause freezes the process.
func (p *Process) Pause() error { return p.Signal(syscall.SIGSTOP) }

// Resume lets a frozen process go on.
func (p *Process) Resume() error { return p.Signal(syscall.SIGCONT) }

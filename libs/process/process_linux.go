package process

import "syscall"

// processAttributes has the kernel kill a server when the thread that started
// it ends, and keeps the terminal's interrupt from it: the one who started the
// control plane stops it, in order.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

//go:build unix && !linux

package process

import "syscall"

// processAttributes keeps the terminal's interrupt from a server. The end of
// its standard input is what ends it with this process.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

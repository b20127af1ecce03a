//go:build !unix

package process

import "syscall"

// processAttributes asks for nothing here. The end of its standard input is
// what ends a server with this process.
func processAttributes() *syscall.SysProcAttr { return nil }

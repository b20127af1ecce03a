package main

import (
	"io"
	"os"
)

// stdinVariable asks for the program to end when its standard input does.
// libs/controlplane sets it, so that no server outlives the process that
// started it, whatever ends that process.
const stdinVariable = "SLUICE_CONTROLPLANE_STDIN"

// followStdin ends the process at the end of standard input. It cannot act
// while the process is stopped by SIGSTOP; on Linux the parent asks the kernel
// for a signal as well.
func followStdin() {
	if os.Getenv(stdinVariable) == "" {
		return
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
}

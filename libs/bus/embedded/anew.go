package embedded

import (
	"log/slog"
	"os"
	"runtime/pprof"
	"syscall"
)

// StartAnew returns what Options.Hangs can be in a program whose state is all on disk and in clusters: this process becomes a new start of
// the same program, with the same arguments, environment and process id, as if it had been killed and started again. Where nobody can become
// another program the process ends with exit code 1. What all goroutines were at goes to standard error, for whoever looks for the cause.
func StartAnew(log *slog.Logger) func(error) {
	return func(err error) {
		log.Error("starting anew", "err", err)
		// Not os.Stderr, which a program that renders has muted; that nobody can be told of a failure here is no matter.
		_ = pprof.Lookup("goroutine").WriteTo(os.NewFile(uintptr(syscall.Stderr), "stderr"), 1)
		program, err := os.Executable()
		if err == nil {
			err = syscall.Exec(program, os.Args, os.Environ())
		}
		log.Error("cannot start anew, ending", "err", err)
		os.Exit(1)
	}
}

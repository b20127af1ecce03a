// Package process runs servers as children of this process, for tests, the demo and benchmarks: with a log file each, and so that
// they never outlive their parent.
package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// Process is one running server of ours.
type Process struct {
	Name string
	Log  string // file with all it has said

	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // why it ended; read after done
}

// Options say what to run.
type Options struct {
	Name    string    // for messages, and of the log file
	Dir     string    // working directory, and where the log file lies
	Command []string  // program and arguments
	Env     []string  // added to this process's environment, as NAME=value
	Output  io.Writer // gets what the server says beside the log file; may be nil
}

// Start runs a command line, with what it says appended to a file of the folder. The server ends with this process, whatever ends
// this process.
func Start(o Options) (*Process, error) {
	p := &Process{Name: o.Name, Log: filepath.Join(o.Dir, o.Name+".log"), done: make(chan struct{})}
	p.cmd = exec.Command(o.Command[0], o.Command[1:]...)
	p.cmd.Dir = o.Dir
	p.cmd.Env = append(os.Environ(), o.Env...)
	p.cmd.SysProcAttr = processAttributes()
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Name, err)
	}
	started := make(chan error, 1)
	go p.run(stdin, o.Output, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Name, err)
	}
	return p, nil
}

// run starts the server and waits for its end on one thread that does nothing
// else: Linux signals a child when the thread that started it ends, not when
// its process does.
func (p *Process) run(stdin io.Closer, output io.Writer, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.done)
	defer stdin.Close()
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		started <- err
		return
	}
	defer log.Close()
	var out io.Writer = log
	if output != nil {
		out = io.MultiWriter(log, output)
	}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := p.cmd.Start(); err != nil {
		started <- err
		return
	}
	started <- nil
	p.err = p.cmd.Wait()
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is why the process ended, nil for an exit with 0; call it after Done.
func (p *Process) Err() error { return p.err }

// PID is the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Ended says whether the process runs no more.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Stop asks the server to end, and kills it when it has not within grace.
func (p *Process) Stop(grace time.Duration) error {
	if p.Ended() {
		return nil
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return p.Kill()
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		return p.Kill()
	}
}

// Kill ends the process at once, as kill -9 does, and returns when it has ended.
func (p *Process) Kill() error {
	if err := p.Signal(os.Kill); err != nil {
		return err
	}
	<-p.done
	return nil
}

// Signal sends a signal; one that comes too late is no error.
func (p *Process) Signal(signal os.Signal) error {
	err := p.cmd.Process.Signal(signal)
	if err == nil || errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return fmt.Errorf("signal %s: %w", p.Name, err)
}

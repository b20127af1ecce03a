package controlplane

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

// stdinVariable tells a program of tools/controlplane to end when its standard
// input does, which is when this process has ended.
const stdinVariable = "SLUICE_CONTROLPLANE_STDIN"

// process is one running server.
type process struct {
	name string
	log  string // file with all it has said
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // why it ended; read after done
}

// startProcess runs a command line, with what it says appended to a file of
// the folder. The server ends with this process, whatever ends this process.
func startProcess(dir, name string, command []string) (*process, error) {
	p := &process{name: name, log: logFile(dir, name), done: make(chan struct{})}
	p.cmd = exec.Command(command[0], command[1:]...)
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), stdinVariable+"=1")
	p.cmd.SysProcAttr = processAttributes()
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	started := make(chan error, 1)
	go p.run(stdin, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// run starts the server and waits for its end on one thread that does nothing
// else: Linux signals a child when the thread that started it ends, not when
// its process does.
func (p *process) run(stdin io.Closer, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.done)
	defer stdin.Close()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		started <- err
		return
	}
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		started <- err
		return
	}
	started <- nil
	p.err = p.cmd.Wait()
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stop asks the server to end, and kills it when it has not within grace.
func (p *process) stop(grace time.Duration) error {
	if p.ended() {
		return nil
	}
	if err := p.signal(syscall.SIGTERM); err != nil {
		return p.kill()
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		return p.kill()
	}
}

func (p *process) kill() error {
	if err := p.signal(os.Kill); err != nil {
		return err
	}
	<-p.done
	return nil
}

func (p *process) signal(signal os.Signal) error {
	err := p.cmd.Process.Signal(signal)
	if err == nil || errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return fmt.Errorf("signal %s: %w", p.name, err)
}

func logFile(dir, name string) string { return filepath.Join(dir, name+".log") }

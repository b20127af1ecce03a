package controlplane

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

const (
	terminalInterval = time.Second
	lineInterval     = 30 * time.Second
)

// report tells how far a build is: one line that changes on a terminal, one
// line each half minute elsewhere. The zero writer is silent.
type report struct {
	out      io.Writer
	terminal bool
	started  time.Time
	done     chan struct{}
	stopped  sync.WaitGroup

	mu       sync.Mutex // guards out and packages
	packages int
}

func newReport(out io.Writer) *report {
	if out == nil {
		out = io.Discard
	}
	return &report{out: out, terminal: isTerminal(out), done: make(chan struct{})}
}

func (r *report) line(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintln(r.out, text)
}

// start writes the first line and then tells the progress until stop.
func (r *report) start(text string) {
	r.line(text)
	r.started = time.Now()
	interval := lineInterval
	if r.terminal {
		interval = terminalInterval
	}
	r.stopped.Go(func() { r.tell(interval) })
}

func (r *report) tell(interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-r.done:
			return
		case <-ticker.C:
			r.progress()
		}
	}
}

func (r *report) count() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.packages++
}

func (r *report) progress() {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := fmt.Sprintf("building the control plane: %s, %d packages compiled", r.elapsed(), r.packages)
	if r.terminal {
		fmt.Fprintf(r.out, "\r\033[K%s", text)
		return
	}
	fmt.Fprintln(r.out, text)
}

func (r *report) stop(err error) {
	close(r.done)
	r.stopped.Wait()
	if r.terminal {
		fmt.Fprint(r.out, "\r\033[K")
	}
	outcome := "built the control plane in"
	if err != nil {
		outcome = "building the control plane failed after"
	}
	r.line(fmt.Sprintf("%s %s", outcome, r.elapsed()))
}

func (r *report) elapsed() time.Duration { return time.Since(r.started).Round(time.Second) }

func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

package controlplane

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"
)

// Where the kernel does not end a server with its parent, the end of its
// standard input has to.
func TestServerEndsWithItsStandardInput(t *testing.T) {
	assets, err := Binary(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	if assets.MultiCall == "" {
		t.Skip("given programs do not look at their standard input")
	}
	c := &ControlPlane{dir: t.TempDir()}
	if c.etcdPort, err = freePort(); err != nil {
		t.Fatal(err)
	}
	command, err := assets.command(etcdProgram)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), command[0], append(command[1:], c.etcdFlags()...)...)
	cmd.Env = append(os.Environ(), stdinVariable+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{name: etcdProgram, cmd: cmd, done: make(chan struct{})}
	go func() { p.err = cmd.Wait(); close(p.done) }()
	if err := p.until(t.Context(), c.etcdReady); err != nil {
		t.Fatal(err)
	}
	stdin.Close()
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		t.Error("etcd runs on after the end of its standard input")
	}
}

func TestStartOfAMissingProgram(t *testing.T) {
	_, err := Start(t.Context(), Options{Assets: Assets{MultiCall: "/no/such/program"}})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error = %v, want one that says the program is missing", err)
	}
}

func TestKillOfAServerThatDoesNotEnd(t *testing.T) {
	p, err := startProcess(t.TempDir(), "stubborn", []string{"/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"})
	if err != nil {
		t.Fatal(err)
	}
	trapped := func() bool { text, err := readTail(p.log); return err == nil && text == "ready\n" }
	for !trapped() {
		select {
		case <-p.done:
			t.Fatal("the server ended by itself")
		case <-time.After(10 * time.Millisecond):
		}
	}
	if err := p.stop(100 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if !p.ended() {
		t.Error("the server still runs")
	}
}

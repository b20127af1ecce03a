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
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for c.etcdReady(t.Context()) != nil {
		select {
		case err := <-ended:
			t.Fatalf("etcd ended before it was ready: %v", err)
		case <-time.After(readyPoll):
		}
	}
	stdin.Close()
	select {
	case <-ended:
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

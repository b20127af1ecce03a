package controlplane_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/sluice-cd/sluice/libs/controlplane"
)

// parentVariable makes the test program a process that starts a control plane,
// prints the ids of its servers and waits to be killed.
const parentVariable = "SLUICE_TEST_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(parentVariable) != "" {
		beParent()
	}
	os.Exit(m.Run())
}

func beParent() {
	c, err := controlplane.Start(context.Background(), controlplane.Options{ControllerManager: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if os.Getenv(parentVariable) == "paused" {
		if err := c.PauseAPIServer(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	line := c.Dir()
	for _, pid := range c.PIDs() {
		line += " " + strconv.Itoa(pid)
	}
	fmt.Println(line)
	select {}
}

// startParent returns a process that runs a control plane, the control plane's
// folder, and the ids of its servers.
func startParent(t *testing.T, mode string) (parent *exec.Cmd, dir string, pids []int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent = exec.Command(self)
	parent.Env = append(os.Environ(), parentVariable+"="+mode)
	parent.Stderr = os.Stderr
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = parent.Process.Kill(); _ = parent.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the process that runs a control plane: %v", err)
	}
	words := strings.Fields(line)
	for _, word := range words[1:] {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return parent, words[0], pids
}

// programFolder returns a folder of programs that, as others' do, take no
// notice of their standard input.
func programFolder(t *testing.T) string {
	t.Helper()
	t.Setenv(controlplane.EnvAssets, "")
	built, err := controlplane.Binary(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager"} {
		script := fmt.Sprintf("#!/bin/sh\nunset SLUICE_CONTROLPLANE_STDIN\nexec '%s' %s \"$@\"\n", built.MultiCall, name)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func client(t *testing.T, c *controlplane.ControlPlane) *kubernetes.Clientset {
	t.Helper()
	config := c.RESTConfig()
	config.Timeout = 30 * time.Second
	set, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, limit time.Duration, holds func() bool) {
	t.Helper()
	timeout := time.After(limit)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-timeout:
			t.Fatalf("after %s: not so: %s", limit, what)
		case <-ticker.C:
		}
	}
}

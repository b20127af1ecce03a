//go:build unix

package controlplane_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/libs/controlplane"
)

func TestServersEndWithTheirParent(t *testing.T) {
	for _, mode := range []string{"running", "paused"} {
		t.Run(mode, func(t *testing.T) {
			testParentsEnd(t, mode)
		})
	}
}

// Programs that others built do not look at their standard input.
func TestServersFromAFolderEndWithTheirParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the kernel does not end them here")
	}
	t.Setenv(controlplane.EnvAssets, programFolder(t))
	testParentsEnd(t, "running")
}

func testParentsEnd(t *testing.T, mode string) {
	t.Helper()
	parent, _, pids := startParent(t, mode)
	if len(pids) != 3 {
		t.Fatalf("servers = %v, want three", pids)
	}
	kill(t, parent.Process)
	eventually(t, "all servers have ended", 10*time.Second, func() bool {
		return !slices.ContainsFunc(pids, alive)
	})
}

func TestStartRemovesFoldersOfKilledProcesses(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	killed, abandoned, _ := startParent(t, "running")
	_, living, _ := startParent(t, "running")
	kill(t, killed.Process)

	start(t, controlplane.Options{})
	if _, err := os.Stat(abandoned); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("folder of a killed process: %v, want it gone", err)
	}
	if _, err := os.Stat(living); err != nil {
		t.Errorf("folder of a living process: %v", err)
	}
}

// kill ends a process as kill -9 does and returns when it has ended.
func kill(t *testing.T, process *os.Process) {
	t.Helper()
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := process.Wait(); err != nil {
		t.Fatal(err)
	}
}

// alive tells whether a process runs. One that has ended and waits for whoever
// inherited it to look does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	return !isZombie(pid)
}

// isZombie looks into /proc, where there is one.
func isZombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z")
}

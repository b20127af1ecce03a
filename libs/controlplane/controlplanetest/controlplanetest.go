// Package controlplanetest gives tests a Kubernetes control plane. It is apart
// from the package controlplane so that programs do not take in the package
// testing.
package controlplanetest

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/libs/controlplane"
)

// cleanupTime is left of a test's time for it to say what went wrong.
const cleanupTime = 15 * time.Second

// buildHint is for the one who runs a test before the programs are built.
const buildHint = "the programs can be built before the tests, without their time limit: go run ./tools/cmd/controlplane build"

// ForTest returns the given cluster, or starts a control plane that stops with
// the test. It fails the test, with the end of the servers' logs, when it
// cannot. A test that stops the API server should skip when Given is true.
func ForTest(t testing.TB, options controlplane.Options) *controlplane.ControlPlane {
	t.Helper()
	ctx, cancel := testContext(t)
	defer cancel()
	c, err := controlplane.StartOrUse(ctx, withProgress(options))
	if err != nil {
		t.Fatalf("no control plane: %v\n%s", err, buildHint)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.LogTail())
		}
		if err := c.Stop(); err != nil {
			t.Errorf("stop the control plane: %v", err)
		}
	})
	return c
}

// Run is for a TestMain whose tests share one control plane: it hands the
// control plane to use, runs the tests, stops it and returns the exit code.
func Run(m *testing.M, options controlplane.Options, use func(*controlplane.ControlPlane)) int {
	c, err := controlplane.StartOrUse(context.Background(), withProgress(options))
	if err != nil {
		fmt.Fprintf(os.Stderr, "no control plane: %v\n%s\n", err, buildHint)
		return 1
	}
	use(c)
	code := m.Run()
	if err := c.Stop(); err != nil {
		fmt.Fprintf(os.Stderr, "stop the control plane: %v\n", err)
		return 1
	}
	return code
}

// testContext ends a little before the test's time does, so that a build that
// takes too long is told as such.
func testContext(t testing.TB) (context.Context, context.CancelFunc) {
	if timed, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if deadline, ok := timed.Deadline(); ok {
			return context.WithDeadline(context.Background(), deadline.Add(-cleanupTime))
		}
	}
	return context.WithCancel(context.Background())
}

func withProgress(options controlplane.Options) controlplane.Options {
	if options.Progress == nil {
		options.Progress = os.Stderr
	}
	return options
}

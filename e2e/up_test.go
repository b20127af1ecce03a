package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/e2e/harness"
	"github.com/sluice-cd/sluice/libs/process"
)

// TestUp runs everything in one process: it says when it is ready, works, stops when asked, and goes on from where it was.
func TestUp(t *testing.T) {
	e := world.Start(t, harness.Options{Idle: true})
	writes := e.Record(t, e.Namespace)
	dir := filepath.Join(e.Dir, "data")
	up := startUp(t, e, dir)
	repo := e.NewRepo(t, "shop", 2)
	writes.AwaitAll(t, repo.Want(), settle)
	if _, err := repo.PushAndRequest(t.Context()); err != nil {
		t.Fatal(err)
	}
	writes.AwaitAll(t, repo.Want(), settle)
	harness.AwaitReady(t, e, repo.Object, settle)
	wantStream(t, dir, "WORK")
	follow := followImages(t, e, "api")
	harness.Until(t, settle, "first image", func() error { return follow.runs(t, "api", "1.0.0") })
	follow.push(t, "api", "1.1.0")
	if err := follow.request(t.Context(), "api"); err != nil {
		t.Fatal(err)
	}
	harness.Until(t, settle, "new image", func() error { return follow.runs(t, "api", "1.1.0") })
	stopUp(t, up)

	// What is pushed and asked for while it is away is done when it is back.
	if _, err := repo.PushAndRequest(t.Context()); err != nil {
		t.Fatal(err)
	}
	up = startUp(t, e, dir)
	writes.AwaitAll(t, repo.Want(), settle)
	for _, app := range repo.Apps {
		harness.AwaitReady(t, e, app, settle)
	}
	stopUp(t, up)
	if back := writes.Regressions(); len(back) > 0 {
		t.Error(back)
	}
}

// startUp returns when the process said on its one line of output that it is ready.
func startUp(t *testing.T, e *harness.Env, dir string) *process.Process {
	t.Helper()
	var ready lineFinder
	p, err := process.Start(process.Options{
		Name: "up", Dir: e.Dir, Output: &ready,
		Command: []string{filepath.Join(e.BinDir, "sluice"), "up", "--kubeconfig", e.Plane.Kubeconfig(), "--data-dir", dir, "--log-level", "debug"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop(10 * time.Second) })
	harness.Until(t, settle, "the line that says it is ready", func() error {
		if p.Ended() {
			t.Fatalf("it ended: %v, see %s", p.Err(), p.Log)
		}
		return harness.Want("the line", ready.found("ready: sluice "), true)
	})
	return p
}

// stopUp holds that the process ends by itself, with success, soon after it is asked.
func stopUp(t *testing.T, p *process.Process) {
	t.Helper()
	began := time.Now()
	if err := p.Stop(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := p.Err(); err != nil {
		t.Errorf("it ended with: %v", err)
	}
	t.Logf("it took %s to stop", time.Since(began))
}

// wantStream holds that JetStream keeps a stream's files below the folder.
func wantStream(t *testing.T, dir, name string) {
	t.Helper()
	found := false
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, filepath.Join("streams", name)) {
			found = true
		}
		if os.IsNotExist(err) {
			return nil // the server writes and renames all the time
		}
		return err
	})
	if err != nil || !found {
		t.Errorf("no files of stream %s below %s (%v)", name, dir, err)
	}
}

package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	"github.com/fluxcd/pkg/apis/meta"
	"github.com/nats-io/nats.go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	wantNotifications(t, e, dir)
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

// wantNotifications holds that what waits to be told is listed by who may read the folder, and that nobody else may connect to the bus.
func wantNotifications(t *testing.T, e *harness.Env, dir string) {
	t.Helper()
	e.Create(t, &notifyv1.Provider{ObjectMeta: metav1.ObjectMeta{Namespace: e.Namespace, Name: "missing"}, Spec: notifyv1.ProviderSpec{
		Type: "generic", Address: "http://127.0.0.1:1", SecretRef: &meta.LocalObjectReference{Name: "missing"},
	}}, alertFor(metav1.ObjectMeta{Namespace: e.Namespace, Name: "missing"}))
	harness.Pause(t.Context(), time.Second) // an alert is told of what happens after it was made
	e.Create(t, e.Kustomization(e.Namespace, "broken", "shop", "./gone"))
	harness.Until(t, settle, "a notification that waits", func() error {
		list, err := exec.CommandContext(t.Context(), filepath.Join(e.BinDir, "sluice"), "notifications", "list", "--data-dir", dir).CombinedOutput()
		if err == nil && !strings.Contains(string(list), "Kustomization/"+e.Namespace+"/broken") {
			err = errors.New("it is not there")
		}
		if err != nil {
			return fmt.Errorf("%w: %s", err, list)
		}
		return nil
	})
	address, err := os.ReadFile(filepath.Join(dir, "keys", "bus.address"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nats.Connect(strings.TrimSpace(string(address))); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("anybody may connect to the bus: %v", err)
	}
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

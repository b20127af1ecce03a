package embedded_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/bus/embedded"
	"github.com/sluice-cd/sluice/libs/disktest"
	"github.com/sluice-cd/sluice/libs/process"
)

// The program of TestSchedulesFireOnFullDisk keeps its files in one and listens at the other.
const (
	fullDir  = "SLUICE_TEST_FULL_DIR"
	fullPort = "SLUICE_TEST_FULL_PORT"
)

// TestSchedulesFireOnFullDisk has many schedules fire while the disk is full, each of which purges a subject: that is what a NATS server
// may hang of, about every other time here. Hung or not, the bus takes writes again with nobody's help.
func TestSchedulesFireOnFullDisk(t *testing.T) {
	if dir := os.Getenv(fullDir); dir != "" {
		serve(t, dir, os.Getenv(fullPort))
		return
	}
	if testing.Short() {
		t.Skip("a hang is known after 30s")
	}
	disk, err := disktest.New(t, filepath.Join(t.TempDir(), "disk"), 64<<20)
	if err != nil {
		t.Skip("no full disk here:", err)
	}
	conn := runServer(t, filepath.Join(disk.Path, "bus"))
	fire := time.Now().Add(2 * time.Second)
	schedule := func(ctx context.Context, name string, at time.Time) error {
		return conn.Schedule(ctx, "test", types.NamespacedName{Namespace: "n", Name: name}, at, nil, false)
	}
	for i := range 400 {
		if err := schedule(t.Context(), fmt.Sprint("app-", i), fire); err != nil {
			t.Fatal(err)
		}
	}
	if err := disk.Fill(); err != nil {
		t.Fatal(err)
	}
	for time.Now().Before(fire.Add(time.Second)) || try(t, schedule) == nil {
		if time.Now().After(fire.Add(20 * time.Second)) {
			t.Fatal("the disk is not full")
		}
	}
	if err := disk.Free(); err != nil {
		t.Fatal(err)
	}
	free := time.Now()
	for err = try(t, schedule); err != nil; err = try(t, schedule) {
		if time.Since(free) > time.Minute {
			t.Fatalf("there is room, and still: %v", err)
		}
	}
	t.Logf("takes writes %s after there is room", time.Since(free).Round(time.Millisecond))
}

// try writes for at most a fifth of a second.
func try(t *testing.T, schedule func(context.Context, string, time.Time) error) error {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := schedule(ctx, "again", time.Now().Add(time.Hour))
	<-ctx.Done()
	return err
}

// runServer runs a server in a process of its own, and connects to it.
func runServer(t *testing.T, dir string) *bus.Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	server, err := process.Start(process.Options{
		Name: "bus", Dir: t.TempDir(), Command: []string{os.Args[0], "-test.run", "^TestSchedulesFireOnFullDisk$"},
		Env: []string{fullDir + "=" + dir, fmt.Sprintf("%s=%d", fullPort, port)},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Kill() })
	conn, err := bus.Connect(t.Context(), bus.Options{URL: fmt.Sprintf("nats://127.0.0.1:%d", port), Log: bustest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func serve(t *testing.T, dir, port string) {
	var number int
	if _, err := fmt.Sscan(port, &number); err != nil {
		t.Fatal(err)
	}
	if _, err := embedded.Start(embedded.Options{Dir: dir, Listen: true, Port: number, Hangs: embedded.StartAnew(slog.Default())}); err != nil {
		t.Fatal(err)
	}
	select {} // until it is killed
}

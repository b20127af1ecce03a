package nats_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-cd/sluice/libs/disktest"
	"github.com/sluice-cd/sluice/libs/process"
)

// TestFullDisk runs the NATS server with the settings here on a small disk, with whoever starts it again when it ended and the health
// check of the container. The disk is full for as long as two restarts take: everything is well afterwards, with nobody's help.
func TestFullDisk(t *testing.T) {
	if _, err := exec.LookPath("wget"); err != nil {
		t.Skip("no wget, which the health check stands on")
	}
	disk, err := disktest.New(t, filepath.Join(t.TempDir(), "disk"), 64<<20)
	if err != nil {
		t.Skip("no full disk here:", err)
	}
	s := newServer(t, disk.Path)
	s.keepAlive(t)
	streams := s.connect(t)
	value := bytes.Repeat([]byte("value"), 20_000)
	put := func(subject string) error {
		_, err := streams.Publish(t.Context(), subject, value, jetstream.WithRetryAttempts(0))
		return err
	}
	until(t, "first write", func() error { return put("work.before") })

	if err := disk.Fill(); err != nil {
		t.Fatal(err)
	}
	until(t, "two restarts on a full disk", func() error {
		if put("work.full") == nil {
			t.Fatal("stored on a full disk")
		}
		if n := s.starts(); n < 3 {
			return fmt.Errorf("started %d times", n)
		}
		return nil
	})
	if err := disk.Free(); err != nil {
		t.Fatal(err)
	}
	until(t, "write after there is room", func() error { return put("work.after") })
	until(t, "health", s.well)
	stream, err := streams.Stream(t.Context(), "WORK")
	if err != nil {
		t.Fatal(err)
	}
	if m, err := stream.GetLastMsgForSubject(t.Context(), "work.before"); err != nil || !bytes.Equal(m.Data, value) {
		t.Errorf("what was stored before is lost: %v", err)
	}
}

// TestShallowHealthSeesNoFullDisk is why the probe asks for all of /healthz: what NATS's own chart asks a living server is not enough.
func TestShallowHealthSeesNoFullDisk(t *testing.T) {
	disk, err := disktest.New(t, filepath.Join(t.TempDir(), "disk"), 64<<20)
	if err != nil {
		t.Skip("no full disk here:", err)
	}
	s := newServer(t, disk.Path)
	s.start(t)
	streams := s.connect(t)
	if err := disk.Fill(); err != nil {
		t.Fatal(err)
	}
	if _, err := streams.Publish(t.Context(), "work.full", make([]byte, 100_000), jetstream.WithRetryAttempts(0)); err == nil {
		t.Fatal("stored on a full disk")
	}
	if err := disk.Free(); err != nil {
		t.Fatal(err)
	}
	if err := s.well(); err == nil || !strings.Contains(err.Error(), "write error") {
		t.Errorf("/healthz says %v, want the write error", err)
	}
	if err := get(s.url("?js-enabled-only=true")); err != nil {
		t.Errorf("/healthz?js-enabled-only=true says %v: deploy/README.md may recommend it now", err)
	}
}

// server is a NATS server with the configuration of this folder, in a process of its own.
type server struct {
	program, dir, config, pidFile string
	client, monitor               int // ports
}

func newServer(t *testing.T, store string) *server {
	t.Helper()
	s := &server{dir: t.TempDir(), client: freePort(t), monitor: freePort(t)}
	s.program, s.config, s.pidFile = filepath.Join(s.dir, "nats-server"), filepath.Join(s.dir, "nats.conf"), filepath.Join(s.dir, "nats.pid")
	build := exec.Command("go", "build", "-o", s.program, "github.com/nats-io/nats-server/v2")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build nats-server: %v\n%s", err, out)
	}
	config, err := os.ReadFile("nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{
		"/data": filepath.Join(store, "data"), "0.0.0.0:4222": fmt.Sprintf("127.0.0.1:%d", s.client), "127.0.0.1:8222": fmt.Sprintf("127.0.0.1:%d", s.monitor),
	} {
		if !bytes.Contains(config, []byte(from)) {
			t.Fatalf("nats.conf does not say %s", from)
		}
		config = bytes.ReplaceAll(config, []byte(from), []byte(to))
	}
	if err := os.WriteFile(s.config, config, 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *server) url(query string) string {
	return fmt.Sprintf("http://127.0.0.1:%d/healthz%s", s.monitor, query)
}

func (s *server) well() error { return get(s.url("")) }

func (s *server) start(t *testing.T) *process.Process {
	t.Helper()
	p, err := process.Start(process.Options{Name: "nats-server", Dir: s.dir, Command: []string{s.program, "--config", s.config, "--pid", s.pidFile}})
	if err != nil {
		t.Error(err)
		return nil
	}
	t.Cleanup(func() { _ = p.Kill() })
	return p
}

// starts is how many times the server has been started.
func (s *server) starts() int {
	log, _ := os.ReadFile(filepath.Join(s.dir, "nats-server.log"))
	return bytes.Count(log, []byte("Starting nats-server"))
}

// keepAlive does what a container's runtime does, until the test ends: it starts the server when it has ended, and calls the health check
// again and again.
func (s *server) keepAlive(t *testing.T) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for t.Context().Err() == nil {
			p := s.start(t)
			if p == nil {
				return
			}
			s.watch(t, p)
		}
	}()
	t.Cleanup(func() { <-done })
}

// watch checks the health of a server until it or the test ends.
func (s *server) watch(t *testing.T, p *process.Process) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-t.Context().Done():
			return
		case <-p.Done():
			return
		case <-tick.C:
			_ = exec.CommandContext(t.Context(), "./health.sh", s.url(""), s.pidFile, "3").Run() // unhealthy is no failure of the test
		}
	}
}

func (s *server) connect(t *testing.T) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect(fmt.Sprintf("nats://127.0.0.1:%d", s.client), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	streams, err := jetstream.New(conn, jetstream.WithDefaultTimeout(500*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	until(t, "stream", func() error {
		_, err := streams.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "WORK", Subjects: []string{"work.>"}})
		return err
	})
	return streams
}

// get returns an error with the answer when a URL does not answer 200.
func get(url string) error {
	response, err := http.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusOK {
		return errors.Join(fmt.Errorf("%s: %s", response.Status, body), err)
	}
	return err
}

func until(t *testing.T, what string, ok func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = ok(); err == nil {
			return
		}
	}
	t.Fatalf("%s not within a minute: %v", what, err)
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

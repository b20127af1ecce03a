package embedded_test

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/bus/embedded"
	"github.com/sluice-cd/sluice/libs/disktest"
)

// TestFullDisk fills the disk of a server and makes room: what was stored is there, and more can be stored, with nobody's help.
func TestFullDisk(t *testing.T) {
	disk, err := disktest.New(t, filepath.Join(t.TempDir(), "disk"), 64<<20)
	if err != nil {
		t.Skip("no full disk here:", err)
	}
	server, err := embedded.Start(embedded.Options{Dir: filepath.Join(disk.Path, "bus"), Listen: true, Log: bustest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	conn, err := bus.Connect(t.Context(), bus.Options{URL: server.ClientURL(), Log: bustest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	value := bytes.Repeat([]byte("value"), 20_000)
	put := func(key string) error {
		_, err := conn.PutState(t.Context(), key, value, 0, bus.Condition{Key: key})
		return err
	}
	if err := put("record.a.b.before"); err != nil {
		t.Fatal(err)
	}
	if err := disk.Fill(); err != nil {
		t.Fatal(err)
	}
	if err := put("record.a.b.full"); err == nil {
		t.Fatal("stored on a full disk")
	}
	if err := disk.Free(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; {
		if err = put("record.a.b.after"); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("there is room, and still: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if entry, err := conn.GetState(t.Context(), "record.a.b.before"); err != nil || !bytes.Equal(entry.Value, value) {
		t.Errorf("what was stored before is %d bytes, %v", len(entry.Value), err)
	}
}

package process

import (
	"os"
	"testing"
	"time"
)

func TestKillOfAServerThatDoesNotEnd(t *testing.T) {
	p, err := Start(Options{
		Name: "stubborn", Dir: t.TempDir(), Command: []string{"/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"},
	})
	if err != nil {
		t.Fatal(err)
	}
	trapped := func() bool { text, err := os.ReadFile(p.Log); return err == nil && string(text) == "ready\n" }
	for !trapped() {
		select {
		case <-p.Done():
			t.Fatal("the server ended by itself")
		case <-time.After(10 * time.Millisecond):
		}
	}
	if err := p.Stop(100 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if !p.Ended() {
		t.Error("the server still runs")
	}
}

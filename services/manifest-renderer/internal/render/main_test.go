package render

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// TestMain sets traps around every test of the package: programs that kustomize
// might run, and the transport that it would fetch with. A test run in which one
// of them was touched has failed, whatever the tests say.
func TestMain(m *testing.M) { os.Exit(trapped(m)) }

func trapped(m *testing.M) int {
	dir, err := os.MkdirTemp("", "traps")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	ran := filepath.Join(dir, "ran")
	for _, program := range []string{"git", "helm", "sh", "docker", "ssh"} {
		script := fmt.Sprintf("#!/bin/sh\necho %s \"$@\" >> %s\nexit 1\n", program, ran)
		if err := os.WriteFile(filepath.Join(dir, program), []byte(script), 0o755); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	os.Setenv("PATH", dir)
	http.DefaultTransport = &transportTrap
	code := m.Run()
	if log, err := os.ReadFile(ran); err == nil {
		fmt.Printf("FAIL: programs were run:\n%s", log)
		return 1
	}
	if n := transportTrap.calls.Load(); n > 0 {
		fmt.Printf("FAIL: %d HTTP requests were made\n", n)
		return 1
	}
	return code
}

var transportTrap trap

type trap struct{ calls atomic.Int64 }

func (t *trap) RoundTrip(*http.Request) (*http.Response, error) {
	t.calls.Add(1)
	return nil, errors.New("trapped")
}

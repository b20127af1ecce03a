package embedded_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-cd/sluice/libs/bus/embedded"
)

// anewAddr names a variable of the environment with the address that the program of TestStartAnew listens on.
const anewAddr = "SLUICE_TEST_ANEW_ADDR"

// TestStartAnew runs this program as one that hangs at its first start. The second start is the same process and finds the port free.
func TestStartAnew(t *testing.T) {
	if addr := os.Getenv(anewAddr); addr != "" {
		hangOnce(addr)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	program := exec.Command(os.Args[0], "-test.run", "^TestStartAnew$")
	program.Env = append(os.Environ(), anewAddr+"="+addr)
	out, err := program.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	first, second := fmt.Sprintf("start 1 of %d", program.Process.Pid), fmt.Sprintf("start 2 of %d", program.Process.Pid)
	if !strings.Contains(string(out), first) || !strings.Contains(string(out), second) {
		t.Errorf("want %q and %q, it said:\n%s", first, second, out)
	}
}

func hangOnce(addr string) {
	const started = "SLUICE_TEST_ANEW_STARTED"
	_, err := net.Listen("tcp", addr) // never closed
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if os.Getenv(started) != "" {
		fmt.Println("start 2 of", os.Getpid())
		return
	}
	fmt.Println("start 1 of", os.Getpid())
	os.Setenv(started, "true")
	var lock sync.Mutex
	lock.Lock()
	go lock.Lock() // nobody gives it back
	embedded.StartAnew(slog.New(slog.DiscardHandler))(errors.New("hangs"))
}

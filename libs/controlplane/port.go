package controlplane

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken below the range that systems give to outgoing connections,
// so that no such connection takes the port of a stopped API server.
const (
	firstPort = 20000
	lastPort  = 31999
)

const loopback = "127.0.0.1"

var errNoPort = errors.New("no free port")

// freePort returns a port of the loopback interface that nobody listens on.
func freePort() (int, error) {
	for range 100 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		listener, err := net.Listen("tcp", address(port))
		if err != nil {
			continue
		}
		return port, listener.Close()
	}
	return 0, fmt.Errorf("find a port from %d to %d: %w", firstPort, lastPort, errNoPort)
}

func address(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }

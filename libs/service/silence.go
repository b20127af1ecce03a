package service

import (
	"fmt"
	"os"
)

// silence is how soon a connection to an API server is given up on which nothing comes any more: it is asked whether it lives when nothing
// came for as long as the first says, and has as long as the second says to answer, in seconds. The Kubernetes client's own are 30 and 15.
var silence = map[string]string{"HTTP2_READ_IDLE_TIMEOUT_SECONDS": "10", "HTTP2_PING_TIMEOUT_SECONDS": "5"}

// NoticeSilence sets how soon dead connections to API servers are given up, where the environment does not say so already. The client
// reads that from the environment, so this belongs into main, before the first connection.
func NoticeSilence() error {
	for name, seconds := range silence {
		if _, ok := os.LookupEnv(name); ok {
			continue
		}
		if err := os.Setenv(name, seconds); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

package e2e

import (
	"bytes"
	"strings"
	"sync"
)

// lineFinder collects output and finds a line in it by its beginning.
type lineFinder struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (f *lineFinder) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text.Write(p)
}

func (f *lineFinder) found(beginning string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for line := range strings.Lines(f.text.String()) {
		if strings.HasPrefix(line, beginning) && strings.HasSuffix(line, "\n") {
			return true
		}
	}
	return false
}

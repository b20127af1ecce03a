package controlplane

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	tailLines = 30
	tailBytes = 16 << 10
)

// LogTail returns the last lines of each server's log, for the message of a
// test that failed. It is empty for a given cluster.
func (c *ControlPlane) LogTail() string {
	if c.given {
		return ""
	}
	var tails []string
	for _, name := range []string{etcdProgram, apiServerProgram, controllerManagerProgram, schedulerProgram} {
		if path := filepath.Join(c.dir, name+".log"); isFile(path) {
			tails = append(tails, logTail(path))
		}
	}
	return strings.Join(tails, "\n")
}

func logTail(path string) string {
	text, err := readTail(path)
	if err != nil {
		return fmt.Sprintf("no log: %v", err)
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	lines = lines[max(0, len(lines)-tailLines):]
	return fmt.Sprintf("end of %s:\n%s", filepath.Base(path), strings.Join(lines, "\n"))
}

func readTail(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	size := min(info.Size(), tailBytes)
	text := make([]byte, size)
	n, err := file.ReadAt(text, info.Size()-size)
	return string(text[:n]), err
}

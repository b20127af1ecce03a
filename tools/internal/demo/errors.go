package demo

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// errInterrupted says that somebody ended the demo before it was through.
var errInterrupted = errors.New("interrupted")

// loggedError is a failure of which a log file tells more.
type loggedError struct {
	error
	log string
}

func (e *loggedError) Unwrap() error { return e.error }

const (
	tailLines = 15
	tailBytes = 16 << 10
)

// withLog adds the end of the log to an error that has one, since the file may be removed with the demo.
func withLog(err error) error {
	var logged *loggedError
	if !errors.As(err, &logged) {
		return err
	}
	return fmt.Errorf("%w\nend of %s:\n%s", err, logged.log, tail(logged.log))
}

// tail returns the last lines of a file.
func tail(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	if size, err := file.Seek(0, io.SeekEnd); err == nil {
		_, _ = file.Seek(max(0, size-tailBytes), io.SeekStart)
	}
	text, err := io.ReadAll(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

package harness

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Record is one line of a service's log.
type Record struct {
	Time    time.Time `json:"time"`
	Level   string    `json:"level"`
	Message string    `json:"msg"`
	Service string    `json:"service"`
	Stage   string    `json:"stage"`
	Object  string    `json:"object"`
	Holder  string    `json:"holder"`
	Cause   string    `json:"cause"`
	Err     any       `json:"err"`

	Replica string `json:"-"` // whose log it is
}

// Records are all lines that the replicas logged so far, by time.
func (e *Env) Records(t testing.TB) []Record {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(e.Dir, "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	var all []Record
	for _, file := range files {
		all = append(all, readLog(t, file)...)
	}
	slices.SortStableFunc(all, func(a, b Record) int { return a.Time.Compare(b.Time) })
	return all
}

// readLog skips lines that are no record: a process that was killed may have left half of one.
func readLog(t testing.TB, file string) []Record {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var records []Record
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<22)
	for lines.Scan() {
		r := Record{Replica: strings.TrimSuffix(filepath.Base(file), ".log")}
		if json.Unmarshal(lines.Bytes(), &r) == nil {
			records = append(records, r)
		}
	}
	return records
}

// crashes tells of panics and data races in the logs of a folder.
func crashes(dir string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	var found []string
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.SplitSeq(string(data), "\n") {
			for _, sign := range []string{"panic: ", "run panicked", "fatal error: ", "DATA RACE"} {
				if strings.Contains(line, sign) {
					found = append(found, fmt.Sprintf("%s: %s", file, line))
				}
			}
		}
	}
	return found
}

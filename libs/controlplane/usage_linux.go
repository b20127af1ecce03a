package controlplane

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// ticksPerSecond is the unit of processor time in /proc, the same on all
// architectures that Go runs on.
const ticksPerSecond = 100

// Fields of /proc/<pid>/stat, counted after the program's name in parentheses.
const (
	statUserTicks   = 11
	statSystemTicks = 12
	statPages       = 21
)

var errStat = errors.New("malformed process statistics")

func readUsage(pid int) (Usage, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, fmt.Errorf("read the usage of process %d: %w", pid, err)
	}
	usage, err := parseStat(string(text))
	if err != nil {
		return Usage{}, fmt.Errorf("read the usage of process %d: %w", pid, err)
	}
	usage.PID = pid
	return usage, nil
}

// parseStat reads from the last parenthesis on, as a name can hold any text.
func parseStat(text string) (Usage, error) {
	fields := strings.Fields(text[strings.LastIndex(text, ")")+1:])
	if len(fields) <= statPages {
		return Usage{}, errStat
	}
	user, err1 := strconv.ParseInt(fields[statUserTicks], 10, 64)
	system, err2 := strconv.ParseInt(fields[statSystemTicks], 10, 64)
	pages, err3 := strconv.ParseInt(fields[statPages], 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return Usage{}, fmt.Errorf("%w: %w", errStat, err)
	}
	return Usage{
		CPUSeconds:    float64(user+system) / ticksPerSecond,
		ResidentBytes: pages * int64(os.Getpagesize()),
	}, nil
}

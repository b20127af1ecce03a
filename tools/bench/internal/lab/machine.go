package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"k8s.io/client-go/discovery"
)

// Machine says where and of what a measurement was made.
type Machine struct {
	Cores      int    `json:"cores"`
	Processor  string `json:"processor"`
	Memory     string `json:"memory"`
	System     string `json:"system"`
	Load       string `json:"load"` // average over 1, 5 and 15 minutes at the start
	Go         string `json:"go"`
	Kubernetes string `json:"kubernetes"`
	NATS       string `json:"nats"`
	Git        string `json:"git"`
	Commit     string `json:"commit"`
}

// Describe asks the machine, the servers and git.
func (l *Lab) Describe(ctx context.Context, load string) (Machine, error) {
	m := Machine{
		Cores: runtime.NumCPU(), Processor: line("/proc/cpuinfo", "model name"), Memory: memory(),
		System: runtime.GOOS + "/" + runtime.GOARCH, Load: load, Go: runtime.Version(),
	}
	version, err := discovery.NewDiscoveryClient(l.API).ServerVersion()
	if err != nil {
		return m, fmt.Errorf("ask the API server for its version: %w", err)
	}
	m.Kubernetes = version.GitVersion
	m.NATS = l.bus.ConnectedServerVersion()
	m.Git = strings.TrimPrefix(output(ctx, "git", "--version"), "git version ")
	m.Commit = output(ctx, "git", "describe", "--always", "--dirty")
	return m, nil
}

// Load is the load average of the machine.
func Load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

// line returns what a file of /proc says of a key.
func line(file, key string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	for _, line := range strings.Split(string(text), "\n") {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func memory() string {
	kib, err := strconv.Atoi(strings.TrimSuffix(line("/proc/meminfo", "MemTotal"), " kB"))
	if err != nil {
		return "unknown"
	}
	return fmt.Sprintf("%.1f GiB", float64(kib)/(1<<20))
}

func output(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

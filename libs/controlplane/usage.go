package controlplane

import "github.com/sluice-cd/sluice/libs/process"

// Usage is what one server has used so far.
type Usage struct {
	// PID is the server's process id.
	PID int

	// CPUSeconds is the time on a processor since the server's start.
	CPUSeconds float64

	// ResidentBytes is the memory it holds now.
	ResidentBytes int64
}

// PIDs returns the process ids of the running servers by program name. It is
// empty for a given cluster.
func (c *ControlPlane) PIDs() map[string]int {
	pids := make(map[string]int)
	for _, p := range c.running() {
		pids[p.Name] = p.PID()
	}
	return pids
}

// Usage returns what the running servers use, by program name. It is empty for
// a given cluster, and errors.ErrUnsupported on systems other than Linux.
func (c *ControlPlane) Usage() (map[string]Usage, error) {
	usages := make(map[string]Usage)
	for _, p := range c.running() {
		usage, err := readUsage(p.PID())
		if err != nil {
			return nil, err
		}
		usages[p.Name] = usage
	}
	return usages, nil
}

// CPUSeconds returns the processor time of all running servers together. It
// falls when a server is stopped.
func (c *ControlPlane) CPUSeconds() (float64, error) {
	usages, err := c.Usage()
	if err != nil {
		return 0, err
	}
	var seconds float64
	for _, usage := range usages {
		seconds += usage.CPUSeconds
	}
	return seconds, nil
}

func (c *ControlPlane) running() []*process.Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	var running []*process.Process
	for _, p := range append([]*process.Process{c.etcd, c.apiServer}, c.clients...) {
		if p != nil && !p.Ended() {
			running = append(running, p)
		}
	}
	return running
}

package gauge

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"k8s.io/client-go/rest"
)

// Meter measures an installation between two moments.
type Meter struct {
	API       rest.Interface // of the API server, through Own
	Own       *Own
	Processes map[string]int // process ids by name
	Beside    map[string]int // those that share the machine: the control plane and the benchmark
	Bus       jetstream.JetStream
	Metrics   map[string]string // URLs of the services' metrics by name
}

// Usage is what was used between two moments, or the mean of several such times.
type Usage struct {
	Requests     Requests           `json:"requests"`
	CPU          map[string]float64 `json:"cpuSeconds"` // by process
	Peak         map[string]int64   `json:"peakBytes"`  // by process, each at its own worst moment
	PeakTogether int64              `json:"peakBytesTogether"`
	Runs         map[string]float64 `json:"stageRuns"`
	Stored       map[string]float64 `json:"busMessagesStored"` // by stream
	Beside       map[string]float64 `json:"cpuSecondsBeside"`  // of what shares the machine
}

// CPUSeconds is the processor time of all processes.
func (u *Usage) CPUSeconds() float64 {
	var total float64
	for _, s := range u.CPU {
		total += s
	}
	return total
}

// Mean is the mean of several usages; of peaks it is the highest.
func Mean(all []*Usage) *Usage {
	if len(all) == 0 {
		return nil
	}
	mean := &Usage{
		Requests: Requests{}, CPU: map[string]float64{}, Peak: map[string]int64{}, Runs: map[string]float64{},
		Stored: map[string]float64{}, Beside: map[string]float64{},
	}
	share := 1 / float64(len(all))
	for _, u := range all {
		for kind, n := range u.Requests {
			mean.Requests[kind] += n * share
		}
		addShare(mean.CPU, u.CPU, share)
		addShare(mean.Runs, u.Runs, share)
		addShare(mean.Stored, u.Stored, share)
		addShare(mean.Beside, u.Beside, share)
		for name, n := range u.Peak {
			mean.Peak[name] = max(mean.Peak[name], n)
		}
		mean.PeakTogether = max(mean.PeakTogether, u.PeakTogether)
	}
	return mean
}

func addShare(to, of map[string]float64, share float64) {
	for name, n := range of {
		to[name] += n * share
	}
}

// Window is a time that is being measured.
type Window struct {
	meter *Meter
	begin *reading
	stop  func() int64
}

// reading is the state of all counters at one moment.
type reading struct {
	served, own               Requests
	cpu, beside, runs, stored map[string]float64
}

// Begin starts to measure.
func (m *Meter) Begin(ctx context.Context) (*Window, error) {
	for _, pid := range m.Processes {
		if err := resetPeak(pid); err != nil {
			return nil, err
		}
	}
	begin, err := m.read(ctx)
	if err != nil {
		return nil, err
	}
	return &Window{m, begin, m.sampleMemory()}, nil
}

// End returns what was used since the beginning.
func (w *Window) End(ctx context.Context) (*Usage, error) {
	together := w.stop()
	end, err := w.meter.read(ctx)
	if err != nil {
		return nil, err
	}
	u := &Usage{
		Requests: end.served.minus(w.begin.served).minus(end.own.minus(w.begin.own)),
		CPU:      minus(end.cpu, w.begin.cpu), Runs: minus(end.runs, w.begin.runs), Beside: minus(end.beside, w.begin.beside), Stored: minus(end.stored, w.begin.stored),
		Peak: map[string]int64{}, PeakTogether: together,
	}
	for name, pid := range w.meter.Processes {
		if u.Peak[name], err = peakBytes(pid); err != nil {
			return nil, err
		}
	}
	return u, nil
}

func minus(a, b map[string]float64) map[string]float64 {
	diff := make(map[string]float64, len(a))
	for name, n := range a {
		diff[name] = n - b[name]
	}
	return diff
}

// read reads all counters. The API server counts a request when it has answered it, so its own metrics do not hold the request for
// them, which is sent after what was sent before was counted here.
func (m *Meter) read(ctx context.Context) (*reading, error) {
	own := m.Own.soFar()
	all, err := served(ctx, m.API)
	if err != nil {
		return nil, err
	}
	runs, err := stageRuns(ctx, m.Metrics)
	if err != nil {
		return nil, err
	}
	messages, err := stored(ctx, m.Bus)
	if err != nil {
		return nil, err
	}
	cpu, err := cpuOf(m.Processes)
	if err != nil {
		return nil, err
	}
	beside, err := cpuOf(m.Beside)
	return &reading{served: all, own: own, runs: runs, stored: messages, cpu: cpu, beside: beside}, err
}

// sampleEvery is how often the memory of all processes together is looked at.
const sampleEvery = 50 * time.Millisecond

// sampleMemory looks at the memory until the function that it returns is called, which gives the highest sum.
func (m *Meter) sampleMemory() (stop func() int64) {
	done := make(chan struct{})
	var highest int64
	var sampler sync.WaitGroup
	sampler.Go(func() {
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			highest = max(highest, m.residentTogether())
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	return func() int64 { close(done); sampler.Wait(); return highest }
}

func (m *Meter) residentTogether() int64 {
	var sum int64
	for _, pid := range m.Processes {
		if n, err := residentBytes(pid); err == nil { // one that has ended holds none
			sum += n
		}
	}
	return sum
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-cd/sluice/libs/bus"
	hintsv1 "github.com/sluice-cd/sluice/proto/hints/v1"
)

// outcome is what became of the calls of one part.
type outcome struct {
	began    time.Time
	mu       sync.Mutex
	took     []time.Duration // from when a call was due to its good answer
	slow     map[int]int     // calls slower than the target, by the second in which they were due
	taken    []delivery
	repeated int // calls that had to be made more than once
	errs     []error
}

// longest is how long a call may wait for its answer, but for one in a hundred.
const longest = 50 * time.Millisecond

func (o *outcome) add(d delivery, due time.Time, attempts int, err error) {
	took := time.Since(due)
	o.mu.Lock()
	defer o.mu.Unlock()
	if took > longest {
		o.slow[int(due.Sub(o.began).Seconds())]++
	}
	if attempts > 1 {
		o.repeated++
	}
	if err != nil {
		o.errs = append(o.errs, err)
		return
	}
	o.took, o.taken = append(o.took, took), append(o.taken, d)
}

// load makes calls at a steady rate, whatever becomes of those before. A call that has to wait for a connection is late from when it was due.
func (b *bench) load(ctx context.Context, rate int, duration time.Duration) *outcome {
	o, c := &outcome{began: time.Now(), slow: map[int]int{}}, newCaller(b.options.callers)
	due := make(chan time.Time, rate*int(duration.Seconds()+1))
	var all sync.WaitGroup
	for range b.options.callers {
		all.Go(func() {
			for at := range due {
				t := b.targets[int(at.UnixNano()/1000)%len(b.targets)]
				d := newDelivery(t.uid)
				attempts, err := c.insist(ctx, t, d)
				o.add(d, at, attempts, err)
			}
		})
	}
	every := time.Second / time.Duration(rate)
	for next := o.began; next.Sub(o.began) < duration && ctx.Err() == nil; next = next.Add(every) {
		if wait := time.Until(next); wait > 0 {
			time.Sleep(wait)
		}
		due <- next
	}
	close(due)
	all.Wait()
	return o
}

func (o *outcome) quantile(share float64) time.Duration {
	if len(o.took) == 0 {
		return 0
	}
	slices.Sort(o.took)
	return o.took[min(len(o.took)-1, int(share*float64(len(o.took))))]
}

func (o *outcome) line(what string, took time.Duration) string {
	return fmt.Sprintf("%s: %d calls taken in %.1f s (%.0f/s), p50 %s, p90 %s, p99 %s, max %s; %d made more than once, %d failed", what, len(o.taken), took.Seconds(),
		float64(len(o.taken))/took.Seconds(), ms(o.quantile(.5)), ms(o.quantile(.9)), ms(o.quantile(.99)), ms(o.quantile(1)), o.repeated, len(o.errs))
}

// slowLine says in which seconds the slow calls were: a few bad moments, or all the time.
func (o *outcome) slowLine() string {
	var parts []string
	for _, second := range slices.Sorted(maps.Keys(o.slow)) {
		parts = append(parts, fmt.Sprintf("%d in second %d", o.slow[second], second))
	}
	return fmt.Sprintf("calls slower than %s: %s", ms(longest), cmp.Or(strings.Join(parts, ", "), "none"))
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }

// steady measures how long calls wait for their answer at a steady rate.
func (b *bench) steady(ctx context.Context) ([]string, error) {
	b.Say("%d calls per second for %s", b.options.rate, b.options.duration)
	cpu := b.cpu()
	profiled := b.profile(ctx)
	began := time.Now()
	o := b.load(ctx, b.options.rate, b.options.duration)
	took := time.Since(began)
	if err := <-profiled; err != nil {
		return nil, err
	}
	lines := []string{o.line("steady", took), o.slowLine(), fmt.Sprintf("CPU seconds: %s", b.cpuSince(cpu)), fmt.Sprintf("memory at most: webhook-receiver %s MiB, bus %s MiB", resident(b.receiver.PID()), resident(b.Sluice.Bus().PID()))}
	writes, err := b.writes()
	if err != nil {
		return lines, err
	}
	found, err := b.look(ctx, o)
	return append(lines, writes, found), errors.Join(err, errors.Join(o.errs...))
}

// profile keeps a profile of webhook-receiver's processor time, if it is wanted.
func (b *bench) profile(ctx context.Context) <-chan error {
	done := make(chan error, 1)
	if b.options.profile == "" {
		close(done)
		return done
	}
	go func() { done <- b.saveProfile(ctx) }()
	return done
}

func (b *bench) saveProfile(ctx context.Context) error {
	address := strings.TrimSuffix(b.receiver.MetricsURL(), "/metrics") + fmt.Sprintf("/debug/pprof/profile?seconds=%d", max(1, int(b.options.duration.Seconds())-1))
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("take a profile: %w", err)
	}
	defer answer.Body.Close()
	file, err := os.Create(b.options.profile)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, answer.Body)
	return errors.Join(err, file.Close())
}

// killed measures what is lost when the bus is killed in the middle and comes again a second later.
func (b *bench) killed(ctx context.Context) ([]string, error) {
	if b.options.kill == 0 {
		return nil, nil
	}
	b.Say("%d calls per second for %s; the bus is killed in the middle", b.options.killRate, b.options.kill)
	fault := make(chan error, 1)
	go func() {
		time.Sleep(b.options.kill / 2)
		err := b.Sluice.Bus().Kill()
		time.Sleep(time.Second)
		fault <- errors.Join(err, b.Sluice.StartBus())
	}()
	began := time.Now()
	o := b.load(ctx, b.options.killRate, b.options.kill)
	lines := []string{o.line("bus killed", time.Since(began))}
	if err := <-fault; err != nil {
		return lines, err
	}
	found, err := b.look(ctx, o)
	return append(lines, found), errors.Join(err, errors.Join(o.errs...))
}

// look says how many of the calls that were taken are in the stream.
func (b *bench) look(ctx context.Context, o *outcome) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	conn, err := bus.Connect(ctx, bus.Options{URL: b.Sluice.NATSURL(), Name: "bench"})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	times := map[string]int{}
	reading, stop := context.WithCancel(ctx)
	err = conn.FollowHints(reading, time.Now().Add(-time.Hour), stop, func(_ time.Time, batch *hintsv1.Batch) {
		for _, h := range batch.GetHints() {
			for _, id := range h.GetIds() {
				times[string(id)]++
			}
		}
	})
	if err != nil && reading.Err() == nil {
		return "", err
	}
	missing, twice := 0, 0
	for _, d := range o.taken {
		switch n := times[d.key16()]; {
		case n == 0:
			missing++
		case n > 1:
			twice++
		}
	}
	line := fmt.Sprintf("of %d calls that were answered 200, %d are not in the stream, %d are there more than once", len(o.taken), missing, twice)
	if missing > 0 {
		return line, errors.New("calls were lost")
	}
	return line, nil
}

// writes says how many hints one write made durable, on average.
func (b *bench) writes() (string, error) {
	answer, err := http.Get(b.receiver.MetricsURL())
	if err != nil {
		return "", fmt.Errorf("read metrics: %w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", fmt.Errorf("read metrics: %w", err)
	}
	var sum, count, took float64
	var upTo, answered []string
	for line := range strings.Lines(string(text)) {
		_, _ = fmt.Sscanf(line, "sluice_webhook_hints_per_write_sum %g", &sum)
		_, _ = fmt.Sscanf(line, "sluice_webhook_hints_per_write_count %g", &count)
		_, _ = fmt.Sscanf(line, "sluice_webhook_write_seconds_sum %g", &took)
		if rest, found := strings.CutPrefix(line, "sluice_webhook_write_seconds_bucket{le="); found {
			upTo = append(upTo, strings.Replace(strings.TrimSpace(rest), "}", "", 1))
		}
		if rest, found := strings.CutPrefix(line, "sluice_webhook_answer_seconds_bucket{le="); found {
			answered = append(answered, strings.Replace(strings.TrimSpace(rest), "}", "", 1))
		}
	}
	return fmt.Sprintf("%.0f hints in %.0f synced writes, %.1f in each; a write took %.2f ms; up to a time in seconds there were %s\nanswers, by webhook-receiver's own clock: %s",
		sum, count, sum/max(count, 1), 1000*took/max(count, 1), strings.Join(upTo, ", "), strings.Join(answered, ", ")), nil
}

// cpu is how many seconds of a processor each process has used.
func (b *bench) cpu() map[string]float64 {
	used := map[string]float64{"bus": seconds(b.Sluice.Bus().PID()), "load": seconds(os.Getpid())}
	for _, service := range services {
		for _, r := range b.Sluice.Replicas(service) {
			used[service] += seconds(r.PID())
		}
	}
	return used
}

func (b *bench) cpuSince(before map[string]float64) string {
	var parts []string
	for name, used := range b.cpu() {
		parts = append(parts, fmt.Sprintf("%s %.1f", name, used-before[name]))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// seconds reads what a process used of processors.
func seconds(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	var user, system float64
	_, _ = fmt.Sscan(fields[11], &user)
	_, _ = fmt.Sscan(fields[12], &system)
	return (user + system) / 100
}

// resident is the memory of a process at its worst, in MiB.
func resident(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "?"
	}
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, "VmHWM:"); found {
			var kib int
			if _, err := fmt.Sscan(rest, &kib); err == nil {
				return fmt.Sprint(kib >> 10)
			}
		}
	}
	return "?"
}

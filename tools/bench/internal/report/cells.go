package report

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

var header = []string{"what", "n", "p50", "p90", "p99", "max", "total", "requests", "CPU s", "peak MiB", "floor", "× floor", "target"}

// cells are the texts of a row, under header.
func (r *Row) cells() []string {
	cells := []string{r.Name, "", "", "", "", "", seconds(r.Total), "", "", "", seconds(r.Floor), "", r.Target}
	if n := len(r.Samples); n > 0 {
		cells[1] = fmt.Sprintf("%d %s", n, r.Of)
		for i, share := range []float64{0.5, 0.9, 0.99, 1} {
			cells[2+i] = seconds(r.Quantile(share))
		}
	}
	if r.Usage != nil {
		cells[9] = mebibytes(r.Usage.PeakTogether)
	}
	if r.Usage != nil && r.Usage.Requests != nil {
		cells[7] = fmt.Sprintf("%.0f", r.Usage.Requests.Total())
		cells[8] = fmt.Sprintf("%.2f", r.Usage.CPUSeconds())
	}
	if ratio := r.Ratio(); ratio > 0 {
		cells[11] = fmt.Sprintf("%.1f", ratio)
	}
	return cells
}

func seconds(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

func mebibytes(n int64) string { return fmt.Sprintf("%.0f", float64(n)/(1<<20)) }

// details are what a row says beside its cells: one line each.
func (r *Row) details() []string {
	var lines []string
	if r.Note != "" {
		lines = append(lines, r.Note)
	}
	if r.Usage == nil {
		return lines
	}
	if r.Usage.Requests != nil {
		lines = append(lines, "requests: "+r.requests())
	}
	lines = append(lines, "processes: "+r.processes())
	if beside := listed(r.Usage.Beside, "%s %.2f CPU s"); beside != "" {
		lines = append(lines, "beside them: "+beside)
	}
	if stored := listed(r.Usage.Stored, "%s %.4g"); stored != "" {
		lines = append(lines, "messages stored by the bus: "+stored)
	}
	if runs := listed(r.Usage.Runs, "%s %.4g"); runs != "" {
		lines = append(lines, "runs of stages: "+runs)
	}
	return lines
}

func (r *Row) requests() string {
	var parts []string
	for _, kind := range r.Usage.Requests.Top() {
		parts = append(parts, number(r.Usage.Requests[kind])+" "+kind.String())
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, "; ")
}

func (r *Row) processes() string {
	var parts []string
	for _, name := range sorted(r.Usage.Peak) {
		part := name + " " + mebibytes(r.Usage.Peak[name]) + " MiB"
		if r.Usage.CPU != nil {
			part += fmt.Sprintf(" %.2f CPU s", r.Usage.CPU[name])
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}

// listed lists what is not zero.
func listed(m map[string]float64, format string) string {
	var parts []string
	for _, name := range sorted(m) {
		if m[name] != 0 {
			parts = append(parts, fmt.Sprintf(format, name, m[name]))
		}
	}
	return strings.Join(parts, "; ")
}

func number(n float64) string {
	if n == float64(int(n)) {
		return fmt.Sprintf("%.0f", n)
	}
	return fmt.Sprintf("%.1f", n)
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

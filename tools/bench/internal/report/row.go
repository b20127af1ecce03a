// Package report holds what the benchmark found and writes it as text, Markdown and JSON.
package report

import (
	"slices"
	"time"

	"github.com/sluice-cd/sluice/tools/bench/internal/gauge"
	"github.com/sluice-cd/sluice/tools/bench/internal/lab"
)

// Report is all results of one run.
type Report struct {
	At       time.Time         `json:"at"`
	Machine  lab.Machine       `json:"machine"`
	Settings map[string]string `json:"settings"`
	Rows     []*Row            `json:"rows"`
}

// Row is one line of the table. Zero fields were not measured.
type Row struct {
	Name    string          `json:"name"`
	Of      string          `json:"of"` // what the samples are
	Samples []time.Duration `json:"samplesNanoseconds,omitempty"`
	// Total is the time until the last of many was done; the median of the repetitions.
	Total time.Duration `json:"totalNanoseconds,omitempty"`
	Usage *gauge.Usage  `json:"usage,omitempty"` // of one repetition, the mean of all
	// Floor is the time that bare workers need for the same: in all where there is a total, otherwise the median.
	Floor  time.Duration `json:"floorNanoseconds,omitempty"`
	Target string        `json:"target,omitempty"`
	Note   string        `json:"note,omitempty"`
}

// Quantile is the sample below which the share of all samples lies, by nearest rank.
func (r *Row) Quantile(share float64) time.Duration { return Quantile(r.Samples, share) }

// Quantile is the sample below which the share of all samples lies, by nearest rank; 0 of none.
func Quantile(samples []time.Duration, share float64) time.Duration {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(samples))
	rank := int(share*float64(len(sorted)) + 0.999999)
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// Ratio is how many times the floor it took; 0 where there is no floor.
func (r *Row) Ratio() float64 {
	if r.Floor == 0 {
		return 0
	}
	took := r.Total
	if took == 0 {
		took = r.Quantile(0.5)
	}
	return float64(took) / float64(r.Floor)
}

package intake

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-cd/sluice/libs/metric"
)

// Metrics count calls and how long their answers take.
type Metrics struct {
	calls  *prometheus.CounterVec
	took   prometheus.Histogram
	writes prometheus.Histogram
	wrote  prometheus.Histogram
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{}
	var err error
	if m.calls, err = metric.Shared(r, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_webhook_calls_total", Help: "Calls, by type of the caller (none where nobody was meant), outcome and status code of the answer.",
	}, []string{"type", "outcome", "code"})); err != nil {
		return nil, err
	}
	if m.took, err = metric.Shared(r, prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "sluice_webhook_answer_seconds", Help: "Time from a call's header to its answer, for calls whose hint was made durable.",
		Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5},
	})); err != nil {
		return nil, err
	}
	if m.wrote, err = metric.Shared(r, prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "sluice_webhook_write_seconds", Help: "Time of one write to the bus, which is durable when it ends.",
		Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 3},
	})); err != nil {
		return nil, err
	}
	m.writes, err = metric.Shared(r, prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "sluice_webhook_hints_per_write", Help: "Hints that one write to the bus made durable.",
		Buckets: prometheus.ExponentialBuckets(1, 2, 12),
	}))
	return m, err
}

// Write counts a write of some hints.
func (m *Metrics) Write(hints int, took time.Duration) {
	m.writes.Observe(float64(hints))
	m.wrote.Observe(took.Seconds())
}

func (m *Metrics) call(kind string, a answer, took time.Duration) {
	m.calls.WithLabelValues(kind, string(a.outcome), strconv.Itoa(a.code)).Inc()
	if a.outcome == taken && a.code == http.StatusOK {
		m.took.Observe(took.Seconds())
	}
}

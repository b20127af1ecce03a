package stage

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the measurements of all stages of a process.
type Metrics struct {
	registry prometheus.Registerer
	runs     *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	wait     *prometheus.HistogramVec
	success  *prometheus.GaugeVec
	gone     *prometheus.CounterVec
}

var latencyBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}

// NewMetrics registers the metrics of stages.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		registry: r,
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sluice_stage_runs_total",
			Help: "Runs by outcome: success, retry (failed, tried again), stalled (failed until a change)."}, []string{"stage", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "sluice_stage_run_seconds",
			Help: "Time a run took.", Buckets: latencyBuckets}, []string{"stage"}),
		wait: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "sluice_stage_wait_seconds",
			Help: "Time from the trigger to the start of the run.", Buckets: latencyBuckets}, []string{"stage"}),
		success: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sluice_stage_last_success_timestamp_seconds",
			Help: "When a run last succeeded in this process."}, []string{"stage"}),
		gone: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sluice_stage_forgotten_total",
			Help: "Objects that were forgotten because they do not exist any more."}, []string{"stage"}),
	}
	r.MustRegister(m.runs, m.seconds, m.wait, m.success, m.gone)
	return m
}

func (m *Metrics) started(stage string, waited time.Duration) {
	m.wait.WithLabelValues(stage).Observe(max(0, waited.Seconds()))
}

func (m *Metrics) finished(stage, outcome string, took time.Duration) {
	m.runs.WithLabelValues(stage, outcome).Inc()
	m.seconds.WithLabelValues(stage).Observe(took.Seconds())
	if outcome == "success" {
		m.success.WithLabelValues(stage).SetToCurrentTime()
	}
}

func (m *Metrics) forget(stage string) { m.gone.WithLabelValues(stage).Inc() }

func outcome(err error) string {
	switch {
	case err == nil:
		return "success"
	case IsStall(err):
		return "stalled"
	default:
		return "retry"
	}
}

// watchDepth exports how many triggers of a stage wait, asked from the bus at each scrape.
func (m *Metrics) watchDepth(s *Stage) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sluice_stage_queue_depth", Help: "Objects that wait for a run or are being run, all replicas together; -1 when the bus does not answer.",
		ConstLabels: prometheus.Labels{"stage": s.Name},
	}, func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		depth, err := s.Depth(ctx)
		if err != nil {
			return -1
		}
		return float64(depth)
	}))
}

// Depth is the number of objects that wait for a run or are being run, in all replicas.
func (s *Stage) Depth(ctx context.Context) (int, error) {
	cons, _, err := s.pullFrom(ctx)
	if err != nil {
		return 0, err
	}
	info, err := cons.Info(ctx)
	if err != nil {
		return 0, err
	}
	return int(info.NumPending) + info.NumAckPending, nil
}

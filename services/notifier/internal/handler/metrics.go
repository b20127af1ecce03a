package handler

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
)

// metrics are the measurements of channels; each is a Provider, of which there are few.
type metrics struct {
	sent, failed, dead *prometheus.CounterVec
	bus                *bus.Conn
	waiting, oldest    *prometheus.Desc
}

func newMetrics(r prometheus.Registerer, b *bus.Conn) *metrics {
	counter := func(name, help string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"channel"})
		r.MustRegister(c)
		return c
	}
	m := &metrics{
		sent:    counter("sluice_notifications_sent_total", "Messages that a service took, edits among them."),
		failed:  counter("sluice_notifications_failed_total", "Messages that a service did not take; most are tried again."),
		dead:    counter("sluice_notifications_dead_total", "Letters that became dead ones."),
		bus:     b,
		waiting: prometheus.NewDesc("sluice_notifications_waiting", "Letters in the outbox, as all replicas see it.", []string{"channel"}, nil),
		oldest:  prometheus.NewDesc("sluice_notifications_oldest_seconds", "Age of the oldest letter in the outbox.", []string{"channel"}, nil),
	}
	r.MustRegister(m)
	return m
}

// Describe is for the registry.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	out <- m.waiting
	out <- m.oldest
}

// Collect asks the bus at each scrape: each replica says the same. A bus that does not answer has nothing to say.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	letters, err := m.bus.Letters(ctx, bus.StreamOutbox, types.NamespacedName{}, false)
	if err != nil {
		return
	}
	count, oldest := map[string]int{}, map[string]time.Time{}
	for _, l := range letters {
		name := l.Channel.String()
		if count[name]++; count[name] == 1 || l.Written.Before(oldest[name]) {
			oldest[name] = l.Written
		}
	}
	for name, n := range count {
		out <- prometheus.MustNewConstMetric(m.waiting, prometheus.GaugeValue, float64(n), name)
		out <- prometheus.MustNewConstMetric(m.oldest, prometheus.GaugeValue, time.Since(oldest[name]).Seconds(), name)
	}
}

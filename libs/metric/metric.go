// Package metric registers metrics that several services of one process have in common.
package metric

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Shared registers a metric, or returns the same one where another part of the process already has it.
func Shared[M prometheus.Collector](r prometheus.Registerer, m M) (M, error) {
	err := r.Register(m)
	var before prometheus.AlreadyRegisteredError
	if errors.As(err, &before) {
		if same, ok := before.ExistingCollector.(M); ok {
			return same, nil
		}
	}
	if err != nil {
		return m, fmt.Errorf("register metric: %w", err)
	}
	return m, nil
}

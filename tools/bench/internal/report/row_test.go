package report

import (
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(100-i))
	}
	for _, c := range []struct {
		samples []time.Duration
		share   float64
		want    time.Duration
	}{
		{nil, 0.5, 0}, {hundred[:1], 0.5, 100}, {hundred, 0.5, 50}, {hundred, 0.9, 90}, {hundred, 0.99, 99}, {hundred, 1, 100},
		{[]time.Duration{1, 2, 3}, 0.5, 2}, {[]time.Duration{1, 2, 3}, 0.99, 3},
	} {
		if got := Quantile(c.samples, c.share); got != c.want {
			t.Errorf("quantile %v of %d samples = %d; want %d", c.share, len(c.samples), got, c.want)
		}
	}
}

func TestRatioIsOfTheTotalWhereThereIsOne(t *testing.T) {
	one := &Row{Samples: []time.Duration{1, 4, 6}, Floor: 2}
	if got := one.Ratio(); got != 2 {
		t.Errorf("got %v", got)
	}
	one.Total = 8
	if got := one.Ratio(); got != 4 {
		t.Errorf("got %v", got)
	}
}

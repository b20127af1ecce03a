package kube

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"
)

// counted counts the Events that come to it.
type counted struct {
	record.EventSink
	n int
}

func (c *counted) Create(e *corev1.Event) (*corev1.Event, error) { c.n++; return e, nil }

func TestPacedSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		to := &counted{}
		sink := &pacedSink{to, rate.NewLimiter(10, 10), ctx}
		began := time.Now()
		for range 30 {
			if _, err := sink.Create(&corev1.Event{}); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took < 1990*time.Millisecond || took > 2010*time.Millisecond || to.n != 30 {
			t.Errorf("%d Events in %s; want 30 in two seconds, the first ten at once", to.n, took)
		}
		stop()
		if _, err := sink.Create(&corev1.Event{}); !errors.Is(err, context.Canceled) || to.n != 30 {
			t.Errorf("an Event after the end: %v", err)
		}
	})
}

// Package service is the shell that every service runs in: flags, logs, metrics, traces, the connections to bus and cluster,
// probes, and an orderly end. What a service does is in its own app package.
package service

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/stage"
)

// Env is what a service is built from. In `sluice up` all services share one.
type Env struct {
	Log      *slog.Logger
	Registry *prometheus.Registry
	Tracer   trace.Tracer
	Bus      *bus.Conn
	Cluster  *kube.Cluster
	Stages   *stage.Runtime
	// NoCrossNamespaceRefs forbids custom resources to refer to objects of other namespaces.
	NoCrossNamespaceRefs bool
	// Ready is called by a service once it takes work.
	Ready func()
}

// Deps are the connections an Env is made of.
type Deps struct {
	Log                  *slog.Logger
	Registry             *prometheus.Registry
	Tracer               trace.Tracer
	Bus                  *bus.Conn
	Cluster              *kube.Cluster
	NoCrossNamespaceRefs bool
}

// NewEnv makes an Env. holder tells this process from all others in locks and logs.
func NewEnv(d Deps, holder string) *Env {
	return &Env{
		Log: d.Log, Registry: d.Registry, Tracer: d.Tracer, Bus: d.Bus, Cluster: d.Cluster, NoCrossNamespaceRefs: d.NoCrossNamespaceRefs,
		Ready: func() {},
		Stages: &stage.Runtime{
			Bus: d.Bus, Log: d.Log, Metrics: stage.NewMetrics(d.Registry), Tracer: d.Tracer, Holder: holder,
		},
	}
}

// Holder makes a name for this process that no other has, also not the same pod's next container.
func Holder(service string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	var salt [4]byte
	_, _ = rand.Read(salt[:])
	return fmt.Sprintf("%s/%s/%d-%s", service, host, os.Getpid(), hex.EncodeToString(salt[:]))
}

// StartCache fills the caches of what was watched and returns when they are filled; they stay up to date until ctx ends.
func (e *Env) StartCache(ctx context.Context) error { return e.Cluster.Start(ctx) }

package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Probes answer the questions of the kubelet: alive as soon as the process listens, ready when it works and its bus is there.
type Probes struct {
	// Pprof serves Go's profiles under /debug/pprof/ too. Set it before Serve.
	Pprof bool

	mu    sync.Mutex
	check func() error
}

// Ready says from now on that the process is ready whenever check is nil.
func (p *Probes) Ready(check func() error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.check = check
}

func (p *Probes) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.check == nil {
		return errors.New("starting")
	}
	return p.check()
}

// Serve serves /metrics, /healthz and /readyz, and profiles where asked for, on addr until the returned function is called; nothing when addr is empty.
func Serve(addr string, registry *prometheus.Registry, probes *Probes, log *slog.Logger) (stop func(), err error) {
	if addr == "" {
		return func() {}, nil
	}
	_, stop, err = ServeHTTP(addr, newProbesMux(registry, probes), log)
	return stop, err
}

func newProbesMux(registry *prometheus.Registry, probes *Probes) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := probes.err(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	if probes.Pprof {
		addPprof(mux)
	}
	return mux
}

// addPprof serves each kind of profile: those that Index knows by name, and the four that have handlers of their own.
func addPprof(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}

// ServeHTTP serves a handler on addr until stop is called, and returns the address it listens on.
func ServeHTTP(addr string, h http.Handler, log *slog.Logger) (at net.Addr, stop func(), err error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, nil, fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("http server ended", "addr", addr, "err", err)
		}
	}()
	return listener.Addr(), func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
	}, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// runMetrics are what run tells Prometheus: its own, and those of worker and meter from
// when there are such.
type runMetrics struct {
	registry *prometheus.Registry
	waiting  prometheus.Gauge

	mu    sync.Mutex
	parts []prometheus.Gatherer
}

func newRunMetrics() *runMetrics {
	m := &runMetrics{registry: prometheus.NewRegistry()}
	m.waiting = prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "ionet_worker", Name: "waiting_for_delegation",
		Help: "1 while no delegation of the provider's wallet is there, so that no sample is read; 0 from then on."})
	build := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "ionet_worker", Name: "build_info",
		Help: "Always 1; the labels say which build of ionet-worker runs.", ConstLabels: buildLabels(debug.ReadBuildInfo())})
	build.Set(1)
	m.registry.MustRegister(m.waiting, build)
	return m
}

// buildLabels name a build; what was not recorded is empty.
func buildLabels(build *debug.BuildInfo, ok bool) prometheus.Labels {
	labels := prometheus.Labels{"version": "", "revision": "", "goversion": runtime.Version()}
	if !ok {
		return labels
	}
	labels["version"] = build.Main.Version
	for _, s := range build.Settings {
		if s.Key == "vcs.revision" {
			labels["revision"] = s.Value
		}
	}
	return labels
}

// add brings in the metrics of the worker, or of the meter.
func (m *runMetrics) add(part prometheus.Gatherer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.parts = append(m.parts, part)
}

// all is what there is now.
func (m *runMetrics) all() prometheus.Gatherer {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append(prometheus.Gatherers{m.registry}, m.parts...)
}

// serveMetrics answers GET /metrics at that address until the returned function ends it;
// with no address it does nothing.
func (s *stage) serveMetrics(address string, from func() prometheus.Gatherer) (stop func() error, err error) {
	if address == "" {
		return func() error { return nil }, nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		promhttp.HandlerFor(from(), promhttp.HandlerOpts{}).ServeHTTP(w, r)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 1 << 14}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	s.print("metrics http://%s/metrics", listener.Addr())
	return func() error {
		// One who is asking gets an answer; nobody else holds the stop up.
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		err := server.Shutdown(ctx)
		if err != nil {
			err = server.Close()
		}
		if served := <-done; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	}, nil
}

package worker

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// metrics are what a worker tells Prometheus. Counters begin at 0 with the process.
type metrics struct {
	registry *prometheus.Registry

	read, signed, accepted, skipped prometheus.Counter
	refused                         *prometheus.CounterVec // by rule: the problem's kind
	devicesRefused                  *prometheus.CounterVec // by rule of a verdict
	omissions, badAcks              prometheus.Counter
	lastEpoch, lastSample, lastTime prometheus.Gauge // of the newest sample that was accepted
	sealed, lastEarned              prometheus.Gauge
	earned                          prometheus.Counter
	newest                          moment
	skew, reachable                 prometheus.Gauge
	devices                         *prometheus.GaugeVec // by state: up, gone
}

func newMetrics(w *Worker) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "ionet_worker", Name: name, Help: help})
		m.registry.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "ionet_worker", Name: name, Help: help})
		m.registry.MustRegister(g)
		return g
	}
	m.read = counter("samples_read_total", "Samples since the start in which the devices were read.")
	m.signed = counter("samples_signed_total", "Uptime statements that were signed and kept.")
	m.accepted = counter("samples_accepted_total", "Uptime statements that the service acked.")
	m.skipped = counter("samples_skipped_total", "Samples that go without a statement.")
	m.omissions = counter("omissions_total", "Acked statements that a sealed book lacks; the evidence is in the folder.")
	m.badAcks = counter("bad_acks_total", "Acks that are none, or contradict an earlier one.")
	m.lastEpoch = gauge("last_accepted_epoch", "Epoch of the newest sample that the service acked.")
	m.lastSample = gauge("last_accepted_sample", "Number within its epoch, from 0, of the newest sample that the service acked.")
	m.lastTime = gauge("last_accepted_timestamp_seconds", "Unix time in seconds at which the newest sample that the service acked began.")
	m.sealed = gauge("sealed_epoch", "Last epoch whose book this worker looked itself up in.")
	m.lastEarned = gauge("last_earned_base_units", "What this worker's devices earned in the last sealed epoch, in the token's base units.")
	m.earned = counter("earned_base_units_total", "What this worker's devices earned in all epochs that were sealed since the start, in the token's base units.")
	m.skew = gauge("clock_skew_seconds", "The service's clock less this host's in seconds, as measured last; below 0 this host's is ahead.")
	m.reachable = gauge("service_reachable", "1 while the service answers, 0 while it does not.")
	m.refused = prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "ionet_worker", Name: "samples_refused_total",
		Help: "Uptime statements that the service refused for good, by the kind of the refusal."}, []string{"rule"})
	m.devices = prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "ionet_worker", Name: "devices",
		Help: "Devices of the inventory by what the last sample said of them: up or gone."}, []string{"state"})
	m.devicesRefused = prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "ionet_worker", Name: "devices_refused_total",
		Help: "Devices that sealed epochs refused, by rule; a device counts once in each epoch."}, []string{"rule"})
	m.registry.MustRegister(m.refused, m.devices, m.devicesRefused)
	m.watch(w)
	return m
}

// watch registers what is read from the worker when it is asked for.
func (m *metrics) watch(w *Worker) {
	gauge := func(name, help string, value func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "ionet_worker", Name: name, Help: help}, func() float64 {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.spool == nil {
				return 0
			}
			return value()
		}))
	}
	gauge("spool_bytes", "Size in bytes of the spool, the file of statements and readings that wait.", func() float64 { return float64(w.spool.size) })
	gauge("spool_limit_bytes", "Bound in bytes of the spool (--spool-mib): when it is full nothing new is signed.", func() float64 { return float64(w.spool.limit) })
	gauge("readings_waiting", "Readings of the devices that wait for the beacon of their sample, without which none is signed.", func() float64 { return float64(len(w.spool.readings)) })
	gauge("statements_unsealed", "Uptime statements in the spool: those whose epoch is not sealed.", func() float64 {
		return float64(countWhere(w.spool.items, func(it *item) bool { return it.e.Kind == proofs.KindUptime }))
	})
	gauge("statements_unacked", "Uptime statements in the spool that the service neither acked nor refused.", func() float64 {
		return float64(countWhere(w.spool.items, func(it *item) bool { return it.e.Kind == proofs.KindUptime && it.ack == nil && it.refused == "" }))
	})
	gauge("delegation_expires_seconds", "Unix time in seconds at which the delegation in force ends; less time() it is what is left.", func() float64 { return float64(w.delegated.Expires) })
	gauge("simulated", "1 when the devices are made up (--simulate), 0 when GPUs are read.", func() float64 { return number(w.cfg.Sampler.Simulated()) })
}

// Metrics returns what the worker tells Prometheus.
func (w *Worker) Metrics() prometheus.Gatherer { return w.metrics.registry }

func countWhere[T any](list []T, is func(T) bool) (n int) {
	for _, v := range list {
		if is(v) {
			n++
		}
	}
	return n
}

func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// observe counts what a person is told; one event at a time.
func (m *metrics) observe(clock ionet.Clock, e Event) {
	switch e.Kind {
	case EventAccepted:
		m.accepted.Inc()
		m.keepNewest(clock, moment{e.Epoch, e.Sample})
	case EventRefused:
		m.refused.WithLabelValues(e.Rule).Inc()
	case EventSkipped:
		m.skipped.Inc()
	case EventOmission:
		m.omissions.Inc()
	case EventBadAck:
		m.badAcks.Inc()
	case EventSealed:
		m.sealed.Set(float64(e.Epoch))
		m.lastEarned.Set(float64(e.Amount.Base()))
		m.earned.Add(float64(e.Amount.Base()))
		for rule, n := range e.Refused {
			m.devicesRefused.WithLabelValues(rule.Name()).Add(float64(n))
		}
	}
}

// keepNewest keeps the newest accepted sample: after an outage they come in any order.
func (m *metrics) keepNewest(clock ionet.Clock, at moment) {
	if !m.newest.before(at) {
		return
	}
	m.newest = at
	m.lastEpoch.Set(float64(at.epoch))
	m.lastSample.Set(float64(at.sample))
	m.lastTime.Set(float64(clock.SampleStart(at.epoch, at.sample)))
}

// took notes what a sample said of the devices.
func (m *metrics) took(entries []proofs.UptimeDevice) {
	gone := countWhere(entries, func(d proofs.UptimeDevice) bool { return d.Status == proofs.DeviceGone })
	m.read.Inc()
	m.devices.WithLabelValues("up").Set(float64(len(entries) - gone))
	m.devices.WithLabelValues("gone").Set(float64(gone))
}

// called notes whether the service answered. A refusal is an answer.
func (m *metrics) called(trouble error) {
	var p *client.Problem
	m.reachable.Set(number(trouble == nil || errors.As(trouble, &p)))
}

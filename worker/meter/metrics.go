package meter

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// metrics are what a meter tells Prometheus. Counters begin at 0 with the process.
type metrics struct {
	registry *prometheus.Registry

	requests *prometheus.CounterVec // by outcome
	refused  *prometheus.CounterVec // by the problem's kind
	units    *prometheus.CounterVec // by unit
	fees     prometheus.Counter
	again    prometheus.Counter
	answered *prometheus.CounterVec // statements, by what the service said
}

func newMetrics(m *Meter) *metrics {
	s := &metrics{registry: prometheus.NewRegistry()}
	vector := func(name, help, label string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "ionet_meter", Name: name, Help: help}, []string{label})
		s.registry.MustRegister(v)
		return v
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "ionet_meter", Name: name, Help: help})
		s.registry.MustRegister(c)
		return c
	}
	s.requests = vector("requests_total", "Requests that a back end worked on, by outcome: billed, hung-up (billed), unbilled, back-end-failed, back-end-refused, stopped (with the worker; not billed).", "outcome")
	s.refused = vector("requests_refused_total", "Requests that were answered with a problem, by its kind.", "reason")
	s.units = vector("units_total", "Units that were billed: token, image, second, request.", "unit")
	s.fees = counter("fees_base_units_total", "Fees of all jobs that were signed, in the token's base units.")
	s.again = counter("answers_repeated_total", "Answers that were given again to the same job.")
	s.answered = vector("statements_answered_total", "Jobs, batches and offers that the service answered: accepted, duplicate or refused.", "status")
	s.watch(m)
	return s
}

// watch registers what is read from the meter when it is asked for.
func (s *metrics) watch(m *Meter) {
	gauge := func(name, help string, value func(*book) float64) {
		s.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "ionet_meter", Name: name, Help: help}, func() float64 {
			m.journal.mu.Lock()
			defer m.journal.mu.Unlock()
			return value(m.journal.book)
		}))
	}
	gauge("requests_in_flight", "Requests that are being served.", func(*book) float64 { return float64(m.inFlight.Load()) })
	gauge("channels", "Channels that are open here.", func(b *book) float64 { return float64(len(b.channels)) })
	gauge("channels_stuck", "Channels on which the service refused a job: nothing is served on them.", func(b *book) (n float64) {
		for _, ch := range b.channels {
			if ch.stuck != "" {
				n++
			}
		}
		return n
	})
	gauge("jobs_unsealed", "Jobs that are in no sealed log yet.", func(b *book) (n float64) {
		for _, ch := range b.channels {
			n += float64(len(ch.jobs))
		}
		return n
	})
	gauge("statements_unacked", "Jobs and batches that the service neither acked nor refused.", func(b *book) float64 {
		return float64(b.unanswered())
	})
	gauge("journal_bytes", "Size in bytes of the journal.", func(*book) float64 { return float64(m.journal.size) })
	gauge("journal_limit_bytes", "Bound in bytes of the journal: when it is full nothing new is served.", func(*book) float64 { return float64(m.journal.limit) })
	gauge("service_silent_seconds", "Seconds since the service answered last.", func(*book) float64 { return m.silence().Seconds() })
}

// billed counts a job.
func (s *metrics) billed(unit proofs.Unit, units uint64, fee ionet.Amount) {
	s.units.WithLabelValues(unit.String()).Add(float64(units))
	s.fees.Add(float64(fee.Base()))
}

// unanswered counts jobs and batches without an answer.
func (b *book) unanswered() (n int) {
	for _, p := range b.byID {
		if p.ch != nil && p.ack == nil && p.refused == "" {
			n++
		}
	}
	return n
}

// Metrics returns what the meter tells Prometheus.
func (m *Meter) Metrics() prometheus.Gatherer { return m.metrics.registry }

package settlement

import "github.com/prometheus/client_golang/prometheus"

// metrics are what a service tells Prometheus. Amounts are not among them, but for how
// fast fees come in: those are in the ledger, exactly.
type metrics struct {
	registry   *prometheus.Registry
	statements *prometheus.CounterVec // by result: accepted, duplicate, or the problem's type
	attempts   prometheus.Gauge
	positions  *prometheus.GaugeVec // by lane
	sealed     prometheus.Gauge
	leader     prometheus.Gauge
	fenced     prometheus.Gauge
	halted     prometheus.Gauge
	differing  prometheus.Gauge
	passes     *prometheus.CounterVec // by result: ok, error
	sent       prometheus.Counter
	offers     prometheus.Gauge
	runs       prometheus.Gauge
	held       prometheus.Gauge
	feesDue    prometheus.Gauge
	lamports   prometheus.Gauge
	endpoints  *prometheus.GaugeVec   // by host and what
	refusals   *prometheus.CounterVec // by kind, and the rule of the signer

	receipts    prometheus.Counter
	published   prometheus.Gauge
	logHalted   prometheus.Gauge
	receiptJobs prometheus.Counter
	receiptFees prometheus.Counter
	records     prometheus.Gauge
	waitingJobs prometheus.Gauge
}

func newMetrics() *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "ionetd", Name: name, Help: help})
	}
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "ionetd", Name: name, Help: help}
	}
	m := &metrics{
		registry:   prometheus.NewRegistry(),
		statements: prometheus.NewCounterVec(counter("statements_total", "Statements taken in or refused, by result."), []string{"result"}),
		attempts:   gauge("live_attempts", "Signed transactions whose outcome is open."),
		positions:  prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "ionetd", Name: "lane_position", Help: "Open position of each lane."}, []string{"lane"}),
		sealed:     gauge("sealed_epoch", "Last epoch whose seal is final."),
		leader:     gauge("leader", "1 while this service holds the lease."),
		fenced:     gauge("fenced", "1 once every pay and claim lane was fenced under this lease."),
		halted:     gauge("halted", "1 while nothing is signed or sent because books and chain disagree."),
		differing:  gauge("vaults_unexplained", "Vaults that differ from the books, or whose history is not read to its end."),
		passes:     prometheus.NewCounterVec(counter("passes_total", "Settle passes, by result."), []string{"result"}),
		sent:       prometheus.NewCounter(counter("transactions_sent_total", "Transactions handed to the chain, resends included.")),
		offers:     gauge("offered_claims", "Live claims that lack their wallet's signature; others are refused at 256."),
		runs:       gauge("open_payout_runs", "Payout runs that are not over."),
		held:       gauge("held_payees", "Payees that payout runs leave out for now; ionetd payouts tells why."),
		feesDue:    gauge("payees_of_fees", "Payees whose fees the open payout runs have yet to pay; they wait for a published checkpoint."),
	}
	m.lamports = gauge("fee_payer_lamports", "What the operator has to pay transactions with, as read once a minute.")
	m.endpoints = prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "ionetd", Name: "rpc_endpoint",
		Help: "Each RPC endpoint: calls, failed, failures in a row, seconds an answer takes, the newest slot it told of, 1 while behind."}, []string{"host", "what"})
	m.registry.MustRegister(m.lamports, m.endpoints)
	m.refusals = prometheus.NewCounterVec(counter("signer_refusals_total", "Transactions that a signer refused to sign, by kind and rule."), []string{"kind", "rule"})
	m.registry.MustRegister(m.refusals)
	m.registry.MustRegister(m.statements, m.attempts, m.positions, m.sealed, m.leader, m.fenced, m.halted, m.differing, m.passes, m.sent, m.offers, m.runs, m.held, m.feesDue)
	m.receipts = prometheus.NewCounter(counter("receipts_total", "Receipts that this instance appended to the log."))
	m.receiptJobs = prometheus.NewCounter(counter("receipt_jobs_total", "Jobs of those receipts, those of batches included."))
	m.receiptFees = prometheus.NewCounter(counter("receipt_fees_total", "Fees of those receipts in base units, rounded as floats are."))
	m.records = gauge("log_records", "Size of the receipt log, as this instance last appended to it.")
	m.waitingJobs = gauge("waiting_jobs", "Jobs that wait for those before them in their channels, as the leader counted.")
	m.published = gauge("log_published_records", "Size of the newest checkpoint of the receipt log that this instance published or read.")
	m.logHalted = gauge("log_halted", "1 while nothing is taken into the receipt log: it lacks or contradicts what is published or sealed.")
	m.registry.MustRegister(m.published, m.logHalted)
	m.registry.MustRegister(m.receipts, m.receiptJobs, m.receiptFees, m.records, m.waitingJobs)
	return m
}

// Metrics returns what the service tells Prometheus.
func (s *Service) Metrics() prometheus.Gatherer { return s.metrics.registry }

package settlement

import (
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet/proofs"
)

// idlePolicy refuses devices that are busy while their worker serves nothing.
var idlePolicy = strings.Replace(feesPolicy, "[payout]\n", "[idle]\nutilization = 60\nsamples = 0\n[payout]\n", 1)

// verdictOf is the rule of a host's devices in epoch k.
func (m *machine) verdictOf(h *host, k uint64) proofs.Rule {
	m.t.Helper()
	var rule int
	if err := m.pool.QueryRow(m.t.Context(), `SELECT rule FROM verdicts WHERE epoch = $1 AND worker = $2 LIMIT 1`, int64(k), publicKey(h)).Scan(&rule); err != nil {
		m.t.Fatal(err)
	}
	return proofs.Rule(rule)
}

func publicKey(h *host) []byte {
	w := h.worker()
	return w[:]
}

// A worker that is busy and served a job has it in the book, and is accepted; one that is
// busy with nothing of the network is not. The auditor finds the same.
func TestBusyWorkersNeedJobs(t *testing.T) {
	m := newMachineUnder(t, idlePolicy)
	m.fenceUp()
	m.funded()
	s := m.newSpender("alice's renter", 0, 600)
	m.payIn(s.renter(), 1000)
	s.text.Issued, s.text.Expires = m.now().Unix(), m.now().Unix()+50_000
	s.session = s.sign()
	c := s.openSeat(m.alice, m.alice.offer(1), 500)

	k := m.current() + 1
	m.toSample(k, 0)
	first, second, third := c.serve(3), c.serve(3), c.serve(3)
	m.accept(third) // it waits, and counts all the same
	m.accept(first, second)
	smallest := first
	for _, e := range []proofs.Envelope{second, third} {
		if a, b := e.ID(), smallest.ID(); string(a[:]) < string(b[:]) {
			smallest = e
		}
	}
	for sample := range uint16(testSamples) {
		m.toSample(k, sample)
		for _, h := range []*host{m.alice, m.bob} {
			m.accept(h.uptime(k, sample, func(u *proofs.Uptime) { u.Devices[0].Utilization = 90 }))
		}
	}
	m.toClose(k)
	m.untilSealed(k)
	if got := m.verdictOf(m.alice, k); got != proofs.Accepted {
		t.Errorf("the worker that served is refused by rule %d", got)
	}
	if got := m.verdictOf(m.bob, k); got != proofs.Idle {
		t.Errorf("the worker that served nothing has rule %d, want idle", got)
	}
	e, err := m.Epoch(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	inputs := m.book(&Closing{Memo: e.Memo}).Inputs
	n := 0
	for _, st := range inputs.Statements {
		if st.Envelope.Kind == proofs.KindJob {
			n++
			if st.Envelope.ID() != smallest.ID() {
				t.Error("the book's job is not the one with the smallest id")
			}
		}
	}
	if n != 1 {
		t.Errorf("the book has %d jobs, want one", n)
	}
	if got := m.count(`SELECT count(*) FROM served_jobs WHERE epoch <= $1`, int64(k)); got != 0 {
		t.Errorf("%d jobs of epochs that are published wait for their book", got)
	}

	late := c.serve(3, func(j *proofs.Job) { j.Served = m.clock.EpochStart(k) + 1 }) // of a closed epoch: paid, and counts for none
	m.accept(late)
	if got := m.count(`SELECT count(*) FROM served_jobs WHERE epoch = $1`, int64(k)); got != 0 {
		t.Error("a job counts for an epoch that is closed")
	}
	m.audited()
}

// A network whose policy asks nobody for jobs seals the epochs in which some were served
// all the same, and has none of them in its books.
func TestEpochsCloseWithoutIdleRule(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.funded()
	s := m.newSpender("alice's renter", 0, 600)
	m.payIn(s.renter(), 1000)
	s.text.Issued, s.text.Expires = m.now().Unix(), m.now().Unix()+50_000
	s.session = s.sign()
	c := s.openSeat(m.alice, m.alice.offer(1), 500)
	k := m.current() + 1
	m.toSample(k, 0)
	m.accept(c.serve(3))
	m.play(k, m.alice, m.bob)
	m.toClose(k)
	m.untilSealed(k)
	for _, h := range []*host{m.alice, m.bob} {
		if got := m.verdictOf(h, k); got != proofs.Accepted {
			t.Errorf("a worker is refused by rule %d", got)
		}
	}
	e, err := m.Epoch(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range m.book(&Closing{Memo: e.Memo}).Inputs.Statements {
		if st.Envelope.Kind == proofs.KindJob {
			t.Error("the book has a job that nobody asks for")
		}
	}
	m.audited()
}

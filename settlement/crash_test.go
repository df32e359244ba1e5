package settlement

import (
	"fmt"
	"testing"
)

// journey is all that a service does with money, once: an epoch is closed and
// sealed, alice claims, bob is paid. It stops where the process dies.
func (m *machine) journey(k uint64) {
	m.t.Helper()
	m.until(fmt.Sprintf("epoch %d is sealed", k), func() bool { return m.wires.isCut() || m.position(epochLane) > k })
	m.claimAll(m.alice)
	m.payAll()
}

// finish makes passes until nothing is on its way any more.
func (m *machine) finish(k uint64) {
	m.t.Helper()
	m.journey(k)
	m.until("lanes are fenced, nothing is open", func() bool {
		return m.view.isReady() && m.count(`SELECT count(*) FROM attempts WHERE state = 'live'`)+m.count(`SELECT count(*) FROM payments WHERE state = 'signed'`) == 0
	})
}

// failEachStep runs the journey once for each of its steps, which fails, and
// brings it to its end: by the same process, or where that died by a new one.
// After each all books are held against the chain. It begins with step first and
// leaves out all but each stride-th.
func failEachStep(t *testing.T, m *machine, f fault, dies bool, first, stride int) {
	for n := first; ; n += stride {
		k := m.playNext(m.alice, m.bob)
		m.wires.arm(n, f, dies)
		m.journey(k)
		step := m.wires.disarm()
		if dies && step != "" {
			m.reopen()
		}
		m.finish(k)
		m.checkBooks()
		if m.owed(m.alice)+m.owed(m.bob) != 0 {
			t.Errorf("alice is owed %d, bob %d at the end", m.owed(m.alice), m.owed(m.bob))
		}
		if testing.Verbose() {
			t.Logf("step %d: %s", n, step)
		}
		if t.Failed() {
			t.Fatalf("after step %d, %q, was %s", n, step, f)
		}
		if step == "" {
			t.Logf("%d steps", n-1)
			return
		}
	}
}

// A process dies at any step, before or after it took effect.
func TestKillAtEachStep(t *testing.T) {
	for _, f := range []fault{lost, unheard} {
		t.Run(f.String(), func(t *testing.T) {
			m := newMachine(t)
			m.fenceUp()
			failEachStep(t, m, f, true, 1, 1)
		})
	}
}

// A step fails and the process goes on: it must not believe what it did not hear.
// Every second step is lost, the others go unheard.
func TestFailEachStep(t *testing.T) {
	for _, f := range []fault{lost, unheard} {
		t.Run(f.String(), func(t *testing.T) {
			m := newMachine(t)
			m.fenceUp()
			failEachStep(t, m, f, false, 1+int(f), 2)
		})
	}
}

// Reads of the chain fail: nothing is done on half of the truth.
func TestFailReads(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.wires.reads = true
	failEachStep(t, m, lost, false, 1, 7)
}

// A take-over dies at any step of its fence, with a payout of the former leader
// still open: at every second step before it took effect, at the others after.
func TestKillFence(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	for _, f := range []fault{lost, unheard} {
		for n := 1 + int(f); ; n += 2 {
			m.seal(m.alice, m.bob)
			if _, err := m.RequestPayout(t.Context()); err != nil {
				t.Fatal(err)
			}
			m.wires.dropping(true)
			m.pass()
			m.wires.dropping(false)
			m.reopen()
			m.wires.arm(n, f, true)
			m.until("lanes are fenced", func() bool { return m.wires.isCut() || m.view.isReady() })
			step := m.wires.disarm()
			if step != "" {
				m.reopen()
			}
			m.finish(0)
			m.checkBooks()
			if t.Failed() {
				t.Fatalf("after step %d, %q, was %s", n, step, f)
			}
			if step == "" {
				t.Logf("%d steps", n-1)
				break
			}
		}
	}
}

package settlement

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// shortGrace is testPolicy under which channels end soon.
var shortGrace = strings.Replace(testPolicy, "[fees]\n", "[fees]\ngrace_seconds = 30\n", 1)

// turnLog publishes the log and lets a moment pass, in which a reader's view of it grows old.
func (m *machine) turnLog() {
	m.t.Helper()
	m.publishLog()
	m.goTo(handTime.Load() + 2)
}

// spending plays a renter's whole life on the real chain: she pays in, spends at bob, who
// is paid his fees, closes, and withdraws what came back, to spend it anew. each is
// called between the steps, with its number.
func (m *machine) spending(each func(step int)) *spender {
	m.t.Helper()
	m.funded()
	step := 0
	next := func() { m.turnLog(); each(step); step++ }
	zoe := m.newSpender("zoe", 0, 6_000)
	m.payIn(zoe.renter(), 10_000)
	m.gave[m.alice.payout] += 10_000
	next()
	offer := m.bob.offer(1)
	seat := zoe.openSeat(m.bob, offer, 4_000)
	next()
	for i := range 5 {
		m.accept(seat.serve(uint64(10 + i)))
	}
	next()
	m.payAll()
	next()
	m.accept(seat.serve(100), m.closeSession(zoe))
	next()
	m.goTo(handTime.Load() + 60)
	m.until("session and channel are over", func() bool { return m.balance(ledger.Renter(zoe.renter())) == 10_000-seat.spent })
	next()
	w := m.withdraw(m.withdrawal(zoe.wallet, 1, 9_000, m.bob.payout, hour))
	m.turnLog()
	m.untilPaid(w.Payment)
	next()
	m.payAll()
	next()
	return zoe
}

// The database is put back to each step of a renter's life, or lost: what it lacks of the
// log is taken from what is published, what it lacks of payments from the chain, and all
// is as before: nobody is paid twice, and no receipt is lost.
func TestRebuiltLog(t *testing.T) {
	m := newMachineUnder(t, shortGrace)
	copies := []string{}
	m.spending(func(int) { copies = append(copies, m.backup()) })
	m.fenceUp()
	m.finish(0)
	want, bob := m.feeState(), m.onChain(m.bob.payout)
	copies = append(copies, pgtest.NewURL(t))
	for i, url := range copies {
		name := fmt.Sprintf("step %d", i)
		if i == len(copies)-1 {
			name = "an empty database"
		}
		m.onDatabase(url)
		m.fenceUp()
		m.turnLog()
		m.payAll()
		m.finish(0)
		m.sameFees(want)
		m.books.checkBooks()
		m.checkVaults()
		if got := m.onChain(m.bob.payout); got != bob {
			t.Errorf("%s: bob had %d, has %d: paid twice", name, bob, got)
		}
		if stand := m.standing(); stand != logAgrees {
			t.Errorf("%s: standing is %d, want agrees", name, stand)
		}
		if t.Failed() {
			t.Fatal(name)
		}
	}
	// And it goes on from there.
	m.register(m.bob) // an empty database knows him no more, and he presents himself again
	next := m.newSpender("ann", 0, 500)
	m.payIn(next.renter(), 1_000)
	seat := next.openSeat(m.bob, m.bob.offer(2), 400)
	m.accept(seat.serve(7))
	m.turnLog()
	m.books.checkBooks()
	client := newLogClient(t, m.store.Dir(), m.net.Network)
	tracker := client.follow(t, nil)
	records := m.encodedRecords()
	if got := tracker.Latest().Size; got != uint64(len(records)) {
		t.Errorf("the client sees size %d, want %d", got, len(records))
	}
	client.check(t, tracker, func(i uint64) []byte { return records[i] }, 0, uint64(len(records)-1))
}

// The rebuild is cut at each step of the database and goes on.
func TestFailRebuild(t *testing.T) {
	m := newMachineUnder(t, shortGrace)
	m.spending(func(int) {})
	m.finish(0)
	want, bob := m.feeState(), m.onChain(m.bob.payout)
	for _, f := range []fault{lost, unheard} {
		for n := 1 + int(f); n < 200; n += 11 {
			m.onDatabase(pgtest.NewURL(t))
			m.wires.arm(n, f, true)
			for range 6 {
				m.pass()
			}
			step := m.wires.disarm()
			m.reopen()
			m.fenceUp()
			m.turnLog()
			m.finish(0)
			m.sameFees(want)
			m.books.checkBooks()
			if got := m.onChain(m.bob.payout); got != bob || t.Failed() {
				t.Fatalf("after %q: bob had %d, has %d", step, bob, got)
			}
			if step == "" {
				t.Logf("%d steps", n-1)
				break
			}
		}
	}
}

// What is published does not follow from the database: nothing of it is imported.
func TestRebuildOfAnotherLog(t *testing.T) {
	m := newMachine(t)
	m.lead()
	m.growLog("a", 300)
	m.publishLog()
	old := m.backup()
	m.growLog("a", 300)
	m.publishLog()
	m.onDatabase(old)
	name := filepath.Join(m.store.Dir(), filepath.FromSlash(publish.EntriesName(1, proofs.TileWidth)))
	bundle, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	bundle[len(bundle)-1] ^= 1
	if err := os.WriteFile(name, bundle, 0o644); err != nil {
		t.Fatal(err)
	}
	m.until("it is compared", func() bool { stand, _, _ := m.receipts.now(); return stand == logForked })
	m.mustRefuse("lead to root")
	if n := m.count(`SELECT count(*) FROM log_entries`); n != 300 {
		t.Errorf("the database has %d records, want 300", n)
	}
}

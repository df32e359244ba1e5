package settlement

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement/genesis"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// oweFees makes payees owe fees, out of what a renter paid in, past the log: these tests are
// about how the debts leave.
func (m *machine) oweFees(amounts map[ionet.Key]uint64) {
	m.t.Helper()
	renter := chain.PublicOf(keyOf("renter"))
	entry := ledger.Entry{ID: ionet.HashOf([]byte("fees"), fmt.Append(nil, m.count(`SELECT count(*) FROM ledger_entries`))), Kind: "test"}
	for payee, amount := range amounts {
		entry.Transfers = append(entry.Transfers, ledger.Transfer{Debit: ledger.Renter(renter), Credit: ledger.OwedFees(payee), Amount: ionet.MustAmount(amount)})
	}
	slices.SortFunc(entry.Transfers, func(a, b ledger.Transfer) int { return strings.Compare(a.Credit.String(), b.Credit.String()) })
	tx, err := m.pool.Begin(m.t.Context())
	if err == nil {
		_, err = ledger.Post(m.t.Context(), tx, entry, m.now())
	}
	if err == nil {
		err = tx.Commit(m.t.Context())
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) owedFees(payee ionet.Key) uint64 {
	return m.balance(ledger.OwedFees(payee)) + m.balance(ledger.FeesInFlight(payee))
}

// feeMachine has alice and bob with token accounts, and a renter who paid in.
func feeMachine(t *testing.T, change func(*genesis.Config)) *machine {
	t.Helper()
	m := newMachineWith(t, testPolicy, change)
	m.funded()
	m.payIn(chain.PublicOf(keyOf("renter")), 100_000)
	m.gave[m.alice.payout] += 100_000
	return m
}

// One run pays what its payees earned in emissions out of the one vault, and in fees out
// of the other.
func TestPayoutRunPaysFees(t *testing.T) {
	m := feeMachine(t, func(*genesis.Config) {})
	alice, bob := m.alice.payout, m.bob.payout
	m.seal(m.bob)
	m.oweFees(map[ionet.Key]uint64{alice: 700, bob: 50})
	rewards, hadAlice, hadBob := m.owed(m.bob), m.onChain(alice), m.onChain(bob)
	if p, err := m.Payouts(t.Context(), 10); err != nil || p.WaitingFees != 2 || p.DueFees.Base() != 750 {
		t.Errorf("%d wait for fees of %s (%v), want 2 for 750", p.WaitingFees, p.DueFees, err)
	}
	if o, err := m.Overview(t.Context()); err != nil || o.Fees.Base() != 750 || o.FeeVault.Base() != o.Renters.Base()+o.Fees.Base() {
		t.Errorf("the fee vault's parts are %+v, %v", o, err)
	}
	id, err := m.RequestPayout(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m.until("the run is over", func() bool {
		r, err := m.PayoutRun(t.Context(), id)
		return err == nil && r.Done
	})
	if r, err := m.PayoutRun(t.Context(), id); err != nil || r.Payees != 3 || r.Paid.Base() != rewards+750 {
		t.Errorf("the run paid %+v, %v, want %d to 3", r, err, rewards+750)
	}
	if got := m.onChain(alice) - hadAlice; got != 700 {
		t.Errorf("alice got %d, want 700", got)
	}
	if got := m.onChain(bob) - hadBob; got != rewards+50 {
		t.Errorf("bob got %d, want %d", got, rewards+50)
	}
	if n := m.count(`SELECT count(*) FROM contents WHERE kind = $1 AND state = 'won'`, int16(chain.KindFees)); n != 1 {
		t.Errorf("%d batches of fees won, want 1", n)
	}
	if !m.saw(EventFees) {
		t.Error("no event tells of the fees")
	}
	m.checkVaults()
	m.checkBooks()
}

// Who can't be paid is left out of both, and paid both once he can be.
func TestHeldPayeeOfFees(t *testing.T) {
	m := feeMachine(t, func(*genesis.Config) {})
	alice, bob := m.alice.payout, m.bob.payout
	m.freeze(m.bob, true)
	m.advance(2)
	m.oweFees(map[ionet.Key]uint64{alice: 5, bob: 700})
	m.payAll()
	o, err := m.Overview(t.Context())
	if err != nil || len(o.Held) != 1 || o.Held[0].Payee != bob || o.Held[0].Fees.Base() != 700 {
		t.Errorf("held are %+v, %v, want bob with 700 of fees", o.Held, err)
	}
	if m.owedFees(alice) != 0 || m.owedFees(bob) != 700 {
		t.Errorf("alice is owed %d, bob %d, want 0 and 700", m.owedFees(alice), m.owedFees(bob))
	}
	m.freeze(m.bob, false)
	m.advance(2)
	m.payAll()
	if m.owedFees(bob) != 0 {
		t.Errorf("bob is owed %d still", m.owedFees(bob))
	}
	m.checkVaults()
	m.checkBooks()
}

// A payee breaks a batch of fees after it was rehearsed: the position is passed, and the
// same run pays the others.
func TestBrokenBatchOfFees(t *testing.T) {
	m := feeMachine(t, func(*genesis.Config) {})
	alice, bob := m.alice.payout, m.bob.payout
	m.oweFees(map[ionet.Key]uint64{alice: 5, bob: 700})
	simulated, broken := false, false
	m.wires.before(func(method string) {
		simulated = simulated || method == "simulateTransaction"
		if method == "sendTransaction" && simulated && !broken {
			broken = true
			m.freeze(m.bob, true)
			m.advance(2)
		}
	})
	m.payAll()
	m.wires.before(nil)
	if m.owedFees(alice) != 0 || m.owedFees(bob) != 700 {
		t.Errorf("alice is owed %d, bob %d, want 0 and 700", m.owedFees(alice), m.owedFees(bob))
	}
	if n := m.count(`SELECT count(*) FROM payments WHERE kind = $1 AND state = 'freed'`, int16(chain.KindFees)); n != 2 {
		t.Errorf("%d payments were freed, want 2", n)
	}
	m.freeze(m.bob, false)
	m.advance(2)
	m.exec(`UPDATE held_payees SET retry_at = $1`, m.now())
	m.payAll()
	if m.owedFees(bob) != 0 {
		t.Errorf("bob is owed %d still", m.owedFees(bob))
	}
	m.finish(0)
	m.checkVaults()
	m.checkBooks()
}

// Fees that come in while a run pays are the next run's: it ends.
func TestRunEndsUnderFees(t *testing.T) {
	m := feeMachine(t, func(*genesis.Config) {})
	id, err := m.RequestPayout(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	alice := m.alice.payout
	for range 60 {
		m.oweFees(map[ionet.Key]uint64{alice: 1})
		m.pass()
		m.goTo(handTime.Load() + 1)
		if r, err := m.PayoutRun(t.Context(), id); err == nil && r.Done {
			break
		}
	}
	r, err := m.PayoutRun(t.Context(), id)
	if err != nil || !r.Done || r.Payees != 1 {
		t.Errorf("the run is %+v, %v, want over with one payment", r, err)
	}
	m.payAll()
	if m.owedFees(alice) != 0 {
		t.Errorf("alice is owed %d still", m.owedFees(alice))
	}
	m.checkVaults()
	m.checkBooks()
}

// More payees than one content takes are several, and neither kind waits for the other's
// end where there is one lane.
func TestFeesTakeTurns(t *testing.T) {
	if testing.Short() {
		t.Skip("opens 70 accounts")
	}
	m := feeMachine(t, func(c *genesis.Config) { c.PayLanes = 1 })
	owed := map[ionet.Key]uint64{}
	var hosts []*host
	for i := range 70 {
		h := m.newPaid(fmt.Sprint("many ", i), fmt.Sprint("gpu many ", i))
		m.register(h)
		m.openAccount(h)
		hosts = append(hosts, h)
		owed[h.payout] = uint64(100 + i)
	}
	m.seal(hosts...)
	m.oweFees(owed)
	m.wires.before(func(method string) {
		if method == "sendTransaction" {
			handTime.Add(1) // who was last is told by the time
		}
	})
	m.payAll()
	m.wires.before(nil)
	for _, h := range hosts {
		if m.owedFees(h.payout)+m.owed(h) != 0 {
			t.Errorf("%s is still owed %d of fees, %d else", h.payout, m.owedFees(h.payout), m.owed(h))
		}
	}
	rows, err := m.pool.Query(t.Context(), `SELECT kind FROM contents WHERE lane = 'pay-0' AND kind = ANY ($1) ORDER BY position`, payoutKinds)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var order []chain.Kind
	for rows.Next() {
		var kind int16
		if err := rows.Scan(&kind); err != nil {
			t.Fatal(err)
		}
		order = append(order, chain.Kind(kind))
	}
	if len(order) != 4 || order[0] == order[1] || order[1] == order[2] || order[2] == order[3] {
		t.Errorf("the lane carried %v, want two payouts and two batches of fees by turns", order)
	}
	m.checkVaults()
	m.checkBooks()
}

// A batch of fees is remembered until it is durable that a content carries it; whatever
// is not known is looked at again.
func TestFeeDebtsAreForgotten(t *testing.T) {
	payee := func(i byte) payment { return payment{payee: ionet.Key{i}, amount: ionet.MustAmount(1)} }
	full := func() feeDebts {
		return feeDebts{lease: 1, whole: true, due: []payment{payee(1), payee(2), payee(3)}}
	}
	f := full()
	f.took([]*attempt{{kind: chain.KindFees, payments: []payment{payee(2)}}, {kind: chain.KindPayout, payments: []payment{payee(1)}}}, nil)
	if len(f.due) != 2 || f.due[0].payee != payee(1).payee || f.due[1].payee != payee(3).payee {
		t.Errorf("due are %+v, want those of 1 and 3", f.due)
	}
	f = full()
	if f.took(nil, errors.New("the connection was lost at the commit")); len(f.due) != 0 || f.lease != 0 {
		t.Errorf("after a commit that nobody knows of: %+v", f)
	}
}

// What a checkpoint does not cover yet is not paid.
func TestFeesWaitForTheCheckpoint(t *testing.T) {
	m := feeMachine(t, func(*genesis.Config) {})
	m.oweFees(map[ionet.Key]uint64{m.alice.payout: 9})
	now := m.now()
	f, err := m.lookAtFees(t.Context(), now)
	if err != nil || len(f.due) != 1 || f.size != 0 {
		t.Fatalf("looked at %+v, %v", f, err)
	}
	f.size = 7
	m.fees = f
	for size, want := range []bool{6: false, 7: true, 8: true} {
		if size < 6 {
			continue
		}
		note, err := proofs.SignCheckpoint(m.net.Network.ID(), m.net.Keys.Service, proofs.LogCheckpoint{Size: uint64(size), Root: ionet.HashOf([]byte("log"))})
		if err == nil {
			err = m.store.Replace(t.Context(), publish.CheckpointName, note)
		}
		if err != nil {
			t.Fatal(err)
		}
		m.goTo(handTime.Load() + 2) // it is read anew
		if due, ready, err := m.dueFees(t.Context(), now, now, 9); err != nil || ready != want || len(due) != 1 {
			t.Errorf("at a checkpoint of %d: %d due, ready %t, %v, want %t", size, len(due), ready, err, want)
		}
	}
	// Another database beneath the service, or another lease: all is looked at again.
	m.begin([16]byte{9})
	if _, _, err := m.dueFees(t.Context(), now, now.Add(-time.Second), 9); err != nil || m.fees.size != 0 {
		t.Errorf("of another run the debts are as of size %d (%v), want them anew", m.fees.size, err)
	}
}

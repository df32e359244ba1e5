package settlement

import (
	"testing"
	"time"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// An offer that nobody took is gone a day after its position was passed, with its
// content and what it carried; while the position is open all of it stays.
func TestDeadOffersAreSwept(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	earned := m.owed(m.alice)
	p := m.offer(m.alice)
	kept := func() int {
		return m.count(`SELECT (SELECT count(*) FROM attempts WHERE offered) + (SELECT count(*) FROM attempt_steps WHERE message = $1)
    + (SELECT count(*) FROM contents WHERE kind = $2) + (SELECT count(*) FROM payments WHERE kind = $2)`, p.Message[:], int16(chain.KindClaim))
	}
	sweep := func() {
		m.goTo(handTime.Load() + int64(sweepEvery/time.Second) + 1)
		m.fenceUp()
		m.pass()
	}
	m.exec(`UPDATE attempts SET state = 'dead', created_at = $1 WHERE offered`, m.now().Add(-offersKept-claimLinger))
	m.Service.swept = m.now() // the pass that frees the debt is not the one that sweeps
	if n := kept(); n != 4 {
		t.Fatalf("%d rows of an offer, want 4", n)
	}
	m.until("its debt is free again", func() bool { return m.owed(m.alice) == earned })
	sweep()
	if n := kept(); n != 0 {
		t.Errorf("%d rows of a dead offer are kept", n)
	}
	m.claimAll(m.alice)
	sweep()
	if n := m.count(`SELECT count(*) FROM payments WHERE kind = $1 AND state = 'paid'`, int16(chain.KindClaim)); n != 1 {
		t.Errorf("%d payments of the claim that landed, want 1", n)
	}
	m.finish(0)
	m.checkBooks()
}

// One transaction with very many credits is one row for each vault and reason.
func TestManyCreditsAreFolded(t *testing.T) {
	m := newMachine(t)
	a := m.funded()
	wallet := chain.PublicOf(keyOf("renter"))
	r := m.request(wallet)
	fee := m.net.Network.Vaults.Fee
	parts := func(n int, tr transfer) (list []solana.Instruction) {
		for range n {
			list = append(list, m.in(a.payout, tr))
		}
		return list
	}
	rows := func() int { return m.count(`SELECT count(*) FROM deposits`) }
	m.lands(m.wallet[a.payout], false, batch(parts(50, transfer{fee, 3, nil})...))
	m.until("they are in suspense", func() bool { return m.balance(ledger.Suspense()) == 150 })
	if n := rows(); n != 1 {
		t.Errorf("50 credits of one transaction are %d rows", n)
	}
	m.lands(m.wallet[a.payout], false, batch(append(parts(20, transfer{m.net.Network.Vaults.Reward, 2, nil}), parts(10, transfer{fee, 5, nil})...)...))
	m.until("both vaults' are", func() bool { return m.balance(ledger.Suspense()) == 150+40+50 })
	if n := rows(); n != 3 {
		t.Errorf("two transactions of strangers to two vaults are %d rows, want 3", n)
	}
	m.lands(m.wallet[a.payout], false, m.in(a.payout, transfer{fee, 1, nil}), m.in(a.payout, transfer{fee, 1, nil}))
	m.until("a few are", func() bool { return m.balance(ledger.Suspense()) == 242 })
	if n := rows(); n != 5 {
		t.Errorf("two more credits make %d rows, want 5", n)
	}
	m.lands(m.wallet[a.payout], false, batch(parts(6, transfer{fee, 4, nil})...), m.in(a.payout, transfer{fee, 9, nil}))
	m.lands(m.wallet[a.payout], false, m.in(a.payout, transfer{fee, 8, []ionet.Key{r.Reference}}))
	m.until("a renter's is credited", func() bool { return m.renter(wallet) == 8 })
	m.checkVaults()
}

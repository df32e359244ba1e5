package settlement

import (
	"testing"

	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/settlement/genesis"
)

// With one pay lane a withdrawal that the signer refuses keeps nobody from being paid.
func TestRefusedWithdrawalTakesNoLane(t *testing.T) {
	m := newMachineWith(t, testPolicy, func(c *genesis.Config) { c.PayLanes = 1 })
	m.funded()
	v := m.fullKeeper(t, nil, unlimited)
	v.stop()
	delete(v.cfg.Policy.Limits, chain.KindWithdrawal)
	v.start()
	m.signedBy(v)
	m.fenceUp()
	key := keyOf("renter")
	m.payIn(chain.PublicOf(key), 1000)
	m.seal(m.alice, m.bob)
	m.payAll() // the last that was signed is a payout
	m.seal(m.alice, m.bob)
	m.withdraw(m.withdrawal(key, 1, 300, m.bob.payout, hour))
	owed := m.owed(m.bob)
	if owed == 0 {
		t.Fatal("nothing owed")
	}
	if _, err := m.RequestPayout(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 60 {
		_ = m.Settle(t.Context()) // says what is refused
		m.advance(4)
		m.goTo(handTime.Load() + 5)
	}
	if m.owed(m.bob) != 0 {
		t.Errorf("bob is still owed %d of %d", m.owed(m.bob), owed)
	}
}

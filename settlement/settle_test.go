package settlement

import (
	"testing"
)

// The whole way: an epoch, a claim, a payout, and the books hold.
func TestSettle(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	if m.owed(m.alice) == 0 || m.owed(m.bob) == 0 {
		t.Fatalf("nothing is owed: %d, %d", m.owed(m.alice), m.owed(m.bob))
	}
	m.claimAll(m.alice)
	m.payAll()
	if m.onChain(m.alice.payout) == 0 || m.onChain(m.bob.payout) == 0 {
		t.Error("a payee has nothing")
	}
	for _, kind := range []EventKind{EventLease, EventFence, EventPublished, EventSealed, EventClaim, EventPayout} {
		if !m.saw(kind) {
			t.Errorf("no event %s was emitted", kind)
		}
	}
	m.checkBooks()
}

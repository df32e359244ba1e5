package settlement

import (
	"testing"

	"github.com/ionet-settlement/ionet/chain"
)

// find returns the newest outgoing content of that kind.
func (p Payouts) find(k chain.Kind) (Outgoing, bool) {
	for _, o := range p.Outgoing {
		if o.Kind == k {
			return o, true
		}
	}
	return Outgoing{}, false
}

// What an operator sees of a payout and a claim from their signing to their end.
func TestPayoutsAsSeen(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	look := func() Payouts {
		t.Helper()
		p, err := m.Payouts(t.Context(), 24)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	expect := func(k chain.Kind, state OutgoingState, attempts int) {
		t.Helper()
		o, ok := look().find(k)
		if !ok || o.State != state || o.Attempts != attempts || o.Since.IsZero() {
			t.Errorf("%s is %+v, want %s after %d attempts", k, o, state, attempts)
		}
	}
	alice, bob := m.owed(m.alice), m.owed(m.bob)
	p := look()
	if p.Minimum.IsZero() || p.Waiting != 2 || p.Due.Base() != alice+bob || len(p.Runs)+len(p.Held)+len(p.Outgoing) != 0 {
		t.Errorf("before the first run: %+v", p)
	}

	m.wires.dropping(true)
	id, err := m.RequestPayout(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m.pass()
	p = look()
	if len(p.Runs) != 1 || p.Runs[0].ID != id || !p.Runs[0].Ended.IsZero() || p.Runs[0].Asked.IsZero() {
		t.Errorf("runs are %+v", p.Runs)
	}
	if len(p.Held) != 1 || p.Held[0].Payee != m.alice.payout || p.Held[0].Owed.Base() != alice || p.Held[0].Reason == "" || !p.Held[0].RetryAt.After(m.now()) {
		t.Errorf("held are %+v, want alice, who has no token account", p.Held)
	}
	provider, err := m.Provider(t.Context(), m.alice.payout)
	if err != nil || provider.Held == nil || provider.Held.Reason != p.Held[0].Reason {
		t.Errorf("alice is told %+v, %v", provider.Held, err)
	}
	if provider, err = m.Provider(t.Context(), m.bob.payout); err != nil || provider.Held != nil {
		t.Errorf("bob is told %+v, %v", provider.Held, err)
	}
	expect(chain.KindPayout, OutgoingSigned, 1)
	o, _ := p.find(chain.KindPayout)
	if o.Payees != 1 || o.Amount.Base() != bob || o.Signature.IsZero() || o.Slot != 0 {
		t.Errorf("payout is %+v", o)
	}
	m.advance(blockhashLife)
	m.wires.silence("simulateTransaction") // nothing is signed again
	m.mayPass()
	m.mayPass()
	expect(chain.KindPayout, OutgoingDead, 1)
	m.wires.silence("")
	m.wires.dropping(false)
	m.until("bob is paid", func() bool { return m.onChain(m.bob.payout) == bob })
	m.until("the run is over", func() bool { r := look().Runs; return len(r) == 1 && !r[0].Ended.IsZero() })
	expect(chain.KindPayout, OutgoingPaid, 2)
	if o, _ := look().find(chain.KindPayout); o.Slot == 0 || o.Signature.IsZero() {
		t.Errorf("a payout that landed is %+v", o)
	}

	m.offer(m.alice)
	expect(chain.KindClaim, OutgoingOffered, 1)
	view, err := m.Overview(t.Context())
	if err != nil || len(view.Live) != 1 || view.Live[0].Signature != "" {
		t.Errorf("live attempts are %+v, %v, want the offer without a signature", view.Live, err)
	}
	m.advance(blockhashLife)
	m.pass()
	m.exec(`UPDATE attempts SET created_at = $1 WHERE state = 'dead'`, m.now().Add(-claimLinger))
	m.until("the claim is passed", func() bool { return m.owed(m.alice) == alice })
	expect(chain.KindClaim, OutgoingSuperseded, 1)
	m.claimAll(m.alice)
	expect(chain.KindClaim, OutgoingPaid, 1)
	m.checkBooks()
}

// mayPass is pass where the wires are cut by hand.
func (m *machine) mayPass() {
	m.t.Helper()
	if err := m.Settle(m.t.Context()); err != nil && !isCutError(err) {
		m.t.Fatal(err)
	}
	m.advance(2)
}

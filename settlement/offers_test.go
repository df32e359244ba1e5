package settlement

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

// offer asks for a claim with our signatures, as anybody can for any wallet.
func (m *machine) offer(h *host) Prepared {
	m.t.Helper()
	p, err := m.OfferClaim(m.t.Context(), h.payout)
	if err != nil {
		m.t.Fatal(err)
	}
	return p
}

// sendRaw sends a transaction past the service, as wallets do.
func (m *machine) sendRaw(tx []byte) {
	m.t.Helper()
	if err := m.clean.Send(m.t.Context(), tx, rpc.SendOptions{}); err != nil {
		m.t.Fatal(err)
	}
	m.advance(2)
}

// An offer is live before it leaves, is sent by its wallet alone, and is found to
// have landed from the lane's state.
func TestOfferedClaim(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice)
	owed := m.owed(m.alice)
	p := m.offer(m.alice)
	if n := m.count(`SELECT count(*) FROM attempts WHERE message = $1 AND state = 'live' AND offered`, p.Message[:]); n != 1 || m.owed(m.alice) != 0 {
		t.Errorf("%d attempts are live, %d are owed: the claim was not persisted before it left", n, m.owed(m.alice))
	}
	if again := m.offer(m.alice); !bytes.Equal(again.Transaction, p.Transaction) {
		t.Error("the same request gives other bytes")
	}
	for range 3 {
		m.pass()
	}
	if c, err := m.ClaimStatus(t.Context(), p.Message); err != nil || c.State != ClaimOffered || !c.Signature.IsZero() {
		t.Errorf("claim is %+v, %v, want offered", c, err)
	}
	if n := m.count(`SELECT sent FROM attempts WHERE message = $1`, p.Message[:]); n != 0 {
		t.Errorf("a transaction that lacks a signature was sent %d times", n)
	}
	m.sendRaw(m.signClaim(m.alice, p))
	m.until("the claim is paid", func() bool { return m.claimState(Claim{Message: p.Message}) == ClaimPaid })
	if c, err := m.ClaimStatus(t.Context(), p.Message); err != nil || c.Signature.IsZero() || c.Slot == 0 {
		t.Errorf("claim is %+v, %v, want it with signature and slot", c, err)
	}
	if got := m.onChain(m.alice.payout); got != owed {
		t.Errorf("alice has %d, earned %d", got, owed)
	}
	m.checkBooks()
}

// A wallet that sends what it was offered may hand it in too: that it has landed is no
// reason to refuse it.
func TestOfferSentAndHandedIn(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice)
	owed := m.owed(m.alice)
	tx := m.signClaim(m.alice, m.offer(m.alice))
	m.sendRaw(tx)
	c, err := m.SubmitClaim(t.Context(), tx)
	if err != nil || c.State != ClaimPending || c.Signature.IsZero() {
		t.Fatalf("claim is %+v, %v, want pending", c, err)
	}
	m.until("the claim is paid", func() bool { return m.claimState(c) == ClaimPaid })
	if c, err := m.SubmitClaim(t.Context(), tx); err != nil || c.State != ClaimPaid {
		t.Errorf("claim is %+v, %v, want paid", c, err)
	}
	if got := m.onChain(m.alice.payout); got != owed {
		t.Errorf("alice has %d, earned %d", got, owed)
	}
	m.checkBooks()
}

// Offers that nobody uses take nothing from the wallet in whose name they were asked
// for: it can claim at once, with the very same message or another one.
func TestOffersBlockNobody(t *testing.T) {
	for name, wait := range map[string]int{"over the same blockhash": 0, "over another blockhash": 80, "over a dead one": blockhashLife} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.fenceUp()
			m.seal(m.alice)
			owed := m.owed(m.alice)
			p := m.prepare(m.alice)
			m.offer(m.alice)
			for range 3 * wait / blockhashLife {
				m.advance(blockhashLife / 2)
				m.pass() // buries what is dead
				m.offer(m.alice)
			}
			if wait > 0 {
				m.advance(wait)
				p = m.prepare(m.alice)
			}
			c, err := m.SubmitClaim(t.Context(), m.signClaim(m.alice, p))
			if err != nil || c.State != ClaimPending {
				t.Fatalf("claim is %+v, %v, want pending", c, err)
			}
			m.until("the claim is paid", func() bool { return m.claimState(c) == ClaimPaid })
			if got := m.onChain(m.alice.payout); got != owed {
				t.Errorf("alice has %d, earned %d", got, owed)
			}
			if n := m.count(`SELECT count(*) FROM contents WHERE kind = $1`, int16(chain.KindClaim)); n != 1 {
				t.Errorf("%d contents for one debt", n)
			}
			m.until("nothing is open", func() bool { return m.count(`SELECT count(*) FROM attempts WHERE state = 'live'`) == 0 })
			m.checkBooks()
		})
	}
}

// Only so many offers live at once, and claims that wallets sign find room beside them.
func TestOffersAreBounded(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	p := m.offer(m.bob)
	m.exec(`
INSERT INTO attempts (message, kind, state, transaction, signature, blockhash, last_valid_height, context_slot, lease, created_at)
SELECT sha256(n::text::bytea), kind, state, transaction, signature, blockhash, last_valid_height, context_slot, lease, created_at
FROM attempts, generate_series(2, $2::int) AS n WHERE message = $1`, p.Message[:], maxOffers)
	_, err := m.OfferClaim(t.Context(), m.alice.payout)
	wantProblem(t, err, ProblemBusy)
	if again := m.offer(m.bob); again.Message != p.Message {
		t.Error("an offer that was made is not given again")
	}
	m.exec(`DELETE FROM attempts WHERE offered AND message <> $1`, p.Message[:])
	m.claimAll(m.alice)
	m.claimAll(m.bob)
	m.checkBooks()
}

// What may be offered to whom.
func TestOfferProblems(t *testing.T) {
	m := newMachine(t)
	_, err := m.OfferClaim(t.Context(), m.alice.payout)
	wantProblem(t, err, ProblemNotLeader)
	m.fenceUp()
	_, err = m.OfferClaim(t.Context(), m.alice.payout)
	wantProblem(t, err, ProblemNothingToClaim)
	_, err = m.OfferClaim(t.Context(), ionet.Key{})
	wantProblem(t, err, ProblemWeakKey)
	poor := m.newHost("poor", "gpu p") // its wallet has no lamports
	m.register(poor)
	m.seal(poor, m.alice)
	_, err = m.OfferClaim(t.Context(), poor.payout)
	wantProblem(t, err, ProblemClaimWouldFail)
	m.wires.dropping(true)
	if _, ok := m.tryClaim(t.Context(), m.alice); !ok {
		t.Fatal("no claim")
	}
	_, err = m.OfferClaim(t.Context(), m.alice.payout)
	wantProblem(t, err, ProblemClaimPending)
	if n := m.count(`SELECT count(*) FROM attempts WHERE offered`); n != 0 {
		t.Errorf("%d offers were made", n)
	}
}

// An offer fails at each of its steps, lost and landed but unheard, in a process that
// goes on and in one that dies: the wallet is paid once all the same, by whichever
// transaction it gets.
func TestOfferFailsAtEachStep(t *testing.T) {
	for _, dies := range []bool{false, true} {
		for _, f := range []fault{lost, unheard} {
			t.Run(fmt.Sprintf("%s, dies %t", f, dies), func(t *testing.T) {
				m := newMachine(t)
				m.fenceUp()
				for n := 1; ; n++ {
					m.seal(m.alice)
					had, owed := m.onChain(m.alice.payout), m.owed(m.alice)
					m.wires.arm(n, f, dies)
					p, err := m.OfferClaim(t.Context(), m.alice.payout)
					step := m.wires.disarm()
					if (err != nil) != (step != "") {
						t.Fatalf("step %d, %q: %v", n, step, err)
					}
					if dies && step != "" {
						m.reopen()
						m.fenceUp()
					}
					if err == nil {
						m.sendRaw(m.signClaim(m.alice, p))
					}
					m.claimAll(m.alice)
					m.until("nothing is open", func() bool { return m.count(`SELECT count(*) FROM attempts WHERE state = 'live'`) == 0 })
					if got := m.onChain(m.alice.payout); got != had+owed {
						t.Errorf("step %d, %q: alice has %d, want %d", n, step, got, had+owed)
					}
					m.checkBooks()
					if step == "" {
						if n == 1 {
							t.Error("an offer has no step that can fail")
						}
						return
					}
				}
			})
		}
	}
}

// Who floods the service with requests for claims has only so many simulated at once,
// and for one wallet one at a time.
func TestSimulationsOfClaimsAreBounded(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	tx := m.signClaim(m.bob, m.prepare(m.bob))
	begun, goOn := make(chan struct{}), make(chan struct{})
	var first atomic.Bool
	m.wires.before(func(method string) {
		if method == "simulateTransaction" && first.CompareAndSwap(false, true) {
			close(begun)
			<-goOn
		}
	})
	done := make(chan error, 1)
	go func() {
		_, err := m.OfferClaim(t.Context(), m.alice.payout)
		done <- err
	}()
	<-begun
	_, err := m.OfferClaim(t.Context(), m.alice.payout)
	wantProblem(t, err, ProblemBusy)
	m.rehearsed.Add(maxRehearsals - 1)
	_, err = m.SubmitClaim(t.Context(), tx)
	wantProblem(t, err, ProblemBusy)
	m.rehearsed.Add(1 - maxRehearsals)
	if _, err := m.SubmitClaim(t.Context(), tx); err != nil {
		t.Errorf("a wallet's claim waits for an offer to another: %v", err)
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
	m.wires.before(nil)
	if n := m.rehearsed.Load(); n != 0 {
		t.Errorf("%d simulations are counted when none runs", n)
	}
	m.claimAll(m.alice)
	m.claimAll(m.bob)
	m.checkBooks()
}

// Where co-signers sign for the reward vault nobody has them sign what no wallet asked
// for; claims that wallets sign first are co-signed as ever.
func TestNoOffersOfAMultisig(t *testing.T) {
	m := newBoard(t, "member a", "member b", "member c")
	m.fenceUp()
	m.seal(m.alice, m.bob)
	_, err := m.OfferClaim(t.Context(), m.alice.payout)
	var p *Problem
	if !errors.As(err, &p) || p.Type != ProblemNoOffers || p.Retry != 0 {
		t.Errorf("got %v, want a problem %s for good", err, ProblemNoOffers)
	}
	if n := m.count(`SELECT count(*) FROM attempts WHERE offered`); n != 0 {
		t.Errorf("%d offers are persisted, want none", n)
	}
	m.claimAll(m.alice)
	m.checkBooks()
}

package settlement

import (
	"bytes"
	"crypto/sha512"
	"errors"
	"strings"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"

	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// deadClaim has h's claim die: it was signed and sent, and the network forgot it.
func (m *machine) deadClaim(h *host) Claim {
	m.t.Helper()
	m.wires.dropping(true)
	c, ok := m.tryClaim(m.t.Context(), h)
	if !ok || c.State != ClaimPending {
		m.t.Fatalf("claim is %+v", c)
	}
	m.advance(blockhashLife)
	m.until("the claim is dead", func() bool { return m.claimState(c) == ClaimExpired })
	m.wires.dropping(false)
	return c
}

// lostClaim has h's claim live on while it never lands: a signature in it is spoilt.
func (m *machine) lostClaim(h *host) Claim {
	m.t.Helper()
	m.wires.dropping(true)
	c, ok := m.tryClaim(m.t.Context(), h)
	if !ok {
		m.t.Fatal("no claim")
	}
	m.wires.dropping(false)
	m.exec(`UPDATE attempts SET transaction = set_byte(transaction, 9, get_byte(transaction, 9) # 1) WHERE message = $1`, c.Message[:])
	return c
}

func (m *machine) claimState(c Claim) string {
	m.t.Helper()
	got, err := m.ClaimStatus(m.t.Context(), c.Message)
	if err != nil {
		m.t.Fatal(err)
	}
	return got.State
}

func (m *machine) countKind(k chain.Kind) int {
	m.t.Helper()
	return m.count(`SELECT count(*) FROM attempts WHERE kind = $1`, int16(k))
}

// A claim that died is prepared again at once: the same content over a newer
// blockhash, however often, and it costs us no transaction.
func TestDeadClaimIsPreparedAgain(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice)
	owed := m.owed(m.alice)
	for range 3 {
		m.deadClaim(m.alice)
		if m.owed(m.alice) != 0 || m.balance(ledger.InFlight(m.alice.payout)) != owed {
			t.Fatalf("alice is owed %d and %d are in flight, want 0 and %d", m.owed(m.alice), m.balance(ledger.InFlight(m.alice.payout)), owed)
		}
	}
	m.seal(m.alice) // she earns more meanwhile: the open claim stays what it is
	if p := m.prepare(m.alice); p.Amount.Base() != owed {
		t.Errorf("the claim is for %s, want %d as before", p.Amount, owed)
	}
	m.claimAll(m.alice)
	if n := m.count(`SELECT count(*) FROM contents WHERE kind = $1`, int16(chain.KindClaim)); n != 2 {
		t.Errorf("%d contents of claims, want that of the dead one and that of the rest", n)
	}
	if n := m.countKind(chain.KindSkip); n != 0 {
		t.Errorf("%d empty contents passed claims, want none", n)
	}
	m.checkBooks()
}

// A claim that nobody comes back for is passed in the end, and its debt is owed again.
func TestLeftClaimIsFreed(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice)
	owed := m.owed(m.alice)
	c := m.deadClaim(m.alice)
	for range 5 {
		m.pass()
	}
	if m.owed(m.alice) != 0 || m.countKind(chain.KindSkip) != 0 {
		t.Errorf("a claim that has just died is passed already")
	}
	m.exec(`UPDATE attempts SET created_at = $1 WHERE state = 'dead'`, m.now().Add(-claimLinger))
	m.until("the debt is free again", func() bool { return m.owed(m.alice) == owed })
	if got := m.claimState(c); got != ClaimSuperseded {
		t.Errorf("claim is %s, want superseded", got)
	}
	if n := m.countKind(chain.KindSkip); n != 1 {
		t.Errorf("%d empty contents, want 1", n)
	}
	m.claimAll(m.alice)
	m.checkBooks()
}

// A payout run takes what lies in claims that were there before it, and is not over
// before it has; a lane is passed once for that.
func TestPayoutRunTakesLeftClaims(t *testing.T) {
	for _, c := range []struct {
		name  string
		leave func(m *machine)
		waits bool
	}{
		{"dead", func(m *machine) { m.deadClaim(m.bob) }, false},
		{"offered", func(m *machine) { m.offer(m.bob) }, true},
		{"signed and lost", func(m *machine) {
			m.lostClaim(m.bob)
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.fenceUp()
			m.seal(m.alice, m.bob)
			owed := m.owed(m.bob)
			c.leave(m)
			id, err := m.RequestPayout(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			m.exec(`UPDATE payments SET created_at = $1`, m.now().Add(-1)) // before the run
			m.pass()
			if n := m.countKind(chain.KindSkip); c.waits != (n == 0) {
				t.Errorf("%d lanes passed at once, the claim is to be waited for: %t", n, c.waits)
			}
			if r, err := m.PayoutRun(t.Context(), id); err != nil || r.Done {
				t.Errorf("the run is over without bob's debt: %+v, %v", r, err)
			}
			if _, err := m.OfferClaim(t.Context(), m.bob.payout); err == nil {
				t.Error("what the run wants is offered again")
			}
			m.exec(`UPDATE payout_runs SET asked_at = $1`, m.now().Add(-claimPatience))
			m.exec(`UPDATE payments SET created_at = $1`, m.now().Add(-2*claimPatience))
			m.until("the run is over", func() bool {
				r, err := m.PayoutRun(t.Context(), id)
				return err == nil && r.Done
			})
			if got := m.onChain(m.bob.payout); got != owed {
				t.Errorf("bob has %d, was owed %d", got, owed)
			}
			if n := m.countKind(chain.KindSkip); n != 1 {
				t.Errorf("%d empty contents, want 1", n)
			}
			m.until("nothing is open", func() bool { return m.count(`SELECT count(*) FROM attempts WHERE state = 'live'`) == 0 })
			m.checkBooks()
		})
	}
}

// While a transaction that the wallet has signed lives it gets no other claim, but
// is told which one that is.
func TestOneClaimAtATime(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice)
	early := m.prepare(m.alice)
	m.seal(m.alice)
	c := m.lostClaim(m.alice)
	m.seal(m.alice) // more is owed
	_, err := m.PrepareClaim(t.Context(), m.alice.payout)
	wantProblem(t, err, ProblemClaimPending)
	var p *Problem
	if !errors.As(err, &p) || !strings.Contains(p.Detail, c.Signature.String()) || p.Retry == 0 {
		t.Errorf("the problem does not name transaction %s or when to come again: %+v", c.Signature, p)
	}
	_, err = m.SubmitClaim(t.Context(), m.signClaim(m.alice, early))
	wantProblem(t, err, ProblemClaimPending)
	if n := m.count(`SELECT count(*) FROM payments WHERE state = 'signed'`); n != 1 {
		t.Errorf("%d claims of one wallet are on their way", n)
	}
	m.advance(blockhashLife)
	m.claimAll(m.alice)
	m.checkBooks()
}

// signAnew makes a second valid signature of the message: the wallet's key with
// another nonce than the standard's.
func (m *machine) signAnew(h *host, message []byte, nonce string) chain.Signature {
	m.t.Helper()
	key := m.wallet[h.payout]
	digest := sha512.Sum512(key.Seed())
	digest[0] &= 248
	digest[31] = digest[31]&63 | 64
	wide := func(parts ...[]byte) *scalar.Scalar {
		sum := sha512.Sum512(bytes.Join(parts, nil))
		s, err := scalar.NewFromBytesModOrderWide(sum[:])
		if err != nil {
			m.t.Fatal(err)
		}
		return s
	}
	a, err := scalar.NewFromBits(digest[:32])
	if err != nil {
		m.t.Fatal(err)
	}
	r := wide([]byte(nonce), message)
	point := curve.NewCompressedEdwardsY().SetEdwardsPoint(curve.NewEdwardsPoint().MulBasepoint(curve.ED25519_BASEPOINT_TABLE, r))
	k := wide(point[:], h.payout[:], message)
	s := scalar.New().Add(r, scalar.New().Mul(k, a))
	var signature chain.Signature
	copy(signature[:32], point[:])
	if err := s.ToBytes(signature[32:]); err != nil {
		m.t.Fatal(err)
	}
	return signature
}

// A wallet can sign its claim's message anew, and send that itself: it is the same
// claim, paid once, whichever of them lands and whichever we know.
func TestSecondValidSignature(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice)
	owed := m.owed(m.alice)
	p := m.prepare(m.alice)
	d, err := chain.Decode(p.Transaction)
	if err != nil {
		t.Fatal(err)
	}
	first := m.signClaim(m.alice, p)
	second, err := chain.AddSignature(p.Transaction, m.alice.payout, m.signAnew(m.alice, d.Raw.Message, "another"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(first, second) {
		t.Fatal("both signatures are the same")
	}
	m.wires.dropping(true)
	a, err := m.SubmitClaim(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.SubmitClaim(t.Context(), second)
	if err != nil || a != b {
		t.Errorf("a second signature gives %+v, %v, want the claim as it was: %+v", b, err, a)
	}
	// The wallet has our signatures from the chain's nodes and lands the second one.
	var ours []byte
	if err := m.pool.QueryRow(t.Context(), `SELECT transaction FROM attempts WHERE message = $1`, p.Message[:]).Scan(&ours); err != nil {
		t.Fatal(err)
	}
	if ours, err = chain.AddSignature(ours, m.alice.payout, m.signAnew(m.alice, d.Raw.Message, "another")); err != nil {
		t.Fatal(err)
	}
	m.sendRaw(ours)
	m.wires.dropping(false)
	m.until("the claim is paid", func() bool { return m.claimState(a) == ClaimPaid })
	got, err := m.ClaimStatus(t.Context(), p.Message)
	if err != nil || got.Signature == a.Signature || got.Signature.IsZero() {
		t.Errorf("claim is %+v, %v, want it with the signature that landed", got, err)
	}
	if got := m.onChain(m.alice.payout); got != owed {
		t.Errorf("alice has %d, earned %d", got, owed)
	}
	m.checkBooks()
}

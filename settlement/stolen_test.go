package settlement

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/settlement/genesis"
	"github.com/ionet-settlement/ionet/settlement/signer"
)

// stolen is a signer whose host was stolen: it signs nothing, says that it can tell lane
// keys, tells what the chain shows anyway, and lies about some.
type stolen struct {
	signer.Signer
	lies map[ionet.Hash]ionet.Key
}

func (s stolen) Keys(context.Context) ([]ionet.Key, error) { return nil, nil }

func (s stolen) LaneKeys(ctx context.Context, cs []ionet.Hash) ([]ionet.Key, error) {
	keys, err := s.Signer.LaneKeys(ctx, cs)
	for i, c := range cs {
		if lie, ok := s.lies[c]; ok {
			keys[i] = lie
		}
	}
	return keys, err
}

func (s stolen) Sign(context.Context, []signer.Request) ([]signer.Signed, error) {
	return nil, errors.New("it signs nothing")
}

func (m *machine) fullSigner() signer.Signer {
	k := m.net.Keys
	return signer.NewLocal(signer.NewRing(&k.Secret, k.Operator, k.Fees))
}

// restartWith is the service with other signers, which has asked them nothing yet.
func (m *machine) restartWith(list ...signer.Signer) {
	cfg := m.Service.cfg
	cfg.Signers = list
	m.Service.signers = newSigners(cfg)
}

// twoClaims has the claims of alice and bob at one position, of which alice's landed
// while nobody made a pass. It returns what the lane shows, and the contents there.
func (m *machine) twoClaims() (l lane, state ionet.Key, claims map[ionet.Key]chain.Content) {
	m.t.Helper()
	m.fenceUp()
	m.seal(m.alice, m.bob)
	ours, theirs := m.prepare(m.alice), m.prepare(m.bob)
	for _, signed := range [][]byte{m.signClaim(m.alice, ours), m.signClaim(m.bob, theirs)} {
		if _, err := m.SubmitClaim(m.t.Context(), signed); err != nil {
			m.t.Fatal(err)
		}
	}
	m.advance(40)
	if m.onChain(m.alice.payout) == 0 || m.onChain(m.bob.payout) != 0 {
		m.t.Fatalf("alice has %d, bob %d, want alice's claim to land alone", m.onChain(m.alice.payout), m.onChain(m.bob.payout))
	}
	lanes, err := m.loadLanes(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	l = laneNamed(lanes, "claim-0")
	accounts, _, err := m.clean.Accounts(m.t.Context(), []ionet.Key{l.address}, rpc.Finalized, 0)
	if err != nil {
		m.t.Fatal(err)
	}
	if state, err = chain.ParseLane(accounts[0].Owner, accounts[0].Data); err != nil {
		m.t.Fatal(err)
	}
	claims = map[ionet.Key]chain.Content{}
	for _, p := range []struct {
		wallet ionet.Key
		tx     []byte
	}{{m.alice.payout, ours.Transaction}, {m.bob.payout, theirs.Transaction}} {
		d, err := chain.Decode(p.tx)
		if err != nil {
			m.t.Fatal(err)
		}
		if claims[p.wallet], err = d.Content(l.address, l.position, l.c); err != nil {
			m.t.Fatal(err)
		}
	}
	return l, state, claims
}

func oneClaimLane(c *genesis.Config) { c.ClaimLanes = 1 }

// A signer that tells another winner than the one that landed would have alice paid
// twice. What won is told by what was signed, not by any signer, the first one included.
func TestSignersDoNotTellWhoWon(t *testing.T) {
	m := newMachineWith(t, testPolicy, oneClaimLane)
	_, state, claims := m.twoClaims()
	had := m.onChain(m.alice.payout)
	lies := map[ionet.Hash]ionet.Key{claims[m.bob.payout].Next(): state, claims[m.alice.payout].Next(): {9, 9}}
	full := m.fullSigner()
	m.restartWith(stolen{full, lies}, full)
	if err := m.Settle(t.Context()); err != nil {
		t.Log("pass:", err)
	}
	if got := m.owed(m.alice); got != 0 {
		t.Errorf("alice has %d and is owed %d again, want nothing", had, got)
	}
	m.restartWith(full)
	m.payAll()
	if got := m.onChain(m.alice.payout); got != had {
		t.Errorf("alice has %d, want the %d that she earned", got, had)
	}
	m.checkBooks()
}

// Where a transaction is found that brought another content on chain than the one whose
// key the lane shows, nothing is settled.
func TestLandingOfAnotherContentStops(t *testing.T) {
	m := newMachineWith(t, testPolicy, oneClaimLane)
	l, _, claims := m.twoClaims()
	for name, change := range map[string]string{
		"by its signature":      `SELECT`,
		"by the lane's history": `UPDATE attempts SET signature = sha512(transaction)`, // as if a wallet had signed anew
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := m.pool.Exec(t.Context(), change); err != nil {
				t.Fatal(err)
			}
			won := []passedPosition{{lane: l, content: claims[m.bob.payout]}}
			err := m.findLandings(t.Context(), won, 0)
			if err == nil || !strings.Contains(err.Error(), claims[m.alice.payout].Hash().String()) {
				t.Errorf("got %v, want an error that names alice's claim, which landed", err)
			}
			won[0].content = claims[m.alice.payout]
			if err := m.findLandings(t.Context(), won, 0); err != nil || won[0].landing.signature.IsZero() {
				t.Errorf("landing of alice's claim: %+v, %v", won[0].landing, err)
			}
		})
	}
}

// hiccup does not answer for a moment, as while it is restarted.
type hiccup struct {
	signer.Signer
	down bool
}

func (h *hiccup) LaneKeys(ctx context.Context, cs []ionet.Hash) ([]ionet.Key, error) {
	if h.down {
		return nil, errors.New("connection refused")
	}
	return h.Signer.LaneKeys(ctx, cs)
}

// Lane keys are told by the first signer alone: a co-signer is not asked for one, however
// long the first is silent, so nothing that it says can be remembered.
func TestCoSignersTellNoLaneKeys(t *testing.T) {
	m := newMachine(t)
	full := &hiccup{Signer: m.fullSigner()}
	c := ionet.HashOf([]byte("c"))
	m.restartWith(full, stolen{full.Signer, map[ionet.Hash]ionet.Key{c: {6, 6, 6}}})
	full.down = true
	if got, err := m.Service.public(t.Context(), c); err == nil {
		t.Errorf("while the first signer is away a co-signer tells %s", got)
	}
	full.down = false
	m.goTo(handTime.Load() + 60)
	got, err := m.Service.public(t.Context(), c)
	if want := m.net.Keys.Secret.Public(c); got != want || err != nil {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	m.restartWith(signer.NewLocal(signer.NewRing(nil)), full)
	if _, err := m.Service.public(t.Context(), c); err == nil || !strings.Contains(err.Error(), "first --signer") {
		t.Errorf("with a co-signer named first: got %v, want a hint", err)
	}
}

// forger says that it holds every key, and signs with none of them.
type forger struct{ keys []ionet.Key }

func (f forger) Keys(context.Context) ([]ionet.Key, error) { return f.keys, nil }

func (f forger) LaneKeys(context.Context, []ionet.Hash) ([]ionet.Key, error) {
	return nil, signer.ErrNoSecret
}

func (f forger) Sign(_ context.Context, list []signer.Request) ([]signer.Signed, error) {
	answers := make([]signer.Signed, len(list))
	for i := range answers {
		answers[i].Signatures = map[ionet.Key]chain.Signature{}
		for _, k := range f.keys {
			answers[i].Signatures[k] = chain.Signature{1}
		}
	}
	return answers, nil
}

// A stolen co-signer's signatures with keys that others hold keep nobody from signing.
func TestForgedSignaturesHoldNothingUp(t *testing.T) {
	m := newBoard(t, "member a", "member b", "member c")
	k := m.net.Keys
	full := signer.NewLocal(signer.NewRing(&k.Secret, k.Operator))
	list := []signer.Signer{full, forger{[]ionet.Key{m.net.Network.Keys.Operator, publicOf("member a"), publicOf("member b")}}}
	for _, name := range []string{"member b", "member c"} {
		list = append(list, signer.NewLocal(signer.NewRing(nil, keyOf(name))))
	}
	m.restartWith(list...)
	m.fenceUp()
	k1 := m.playNext(m.alice, m.bob)
	for i := 0; m.position(epochLane) <= k1; i++ { // member a is chosen once, and then not
		if err := m.Settle(t.Context()); i > 100 {
			t.Fatalf("epoch %d is not sealed by members b and c: %v", k1, err)
		}
		m.advance(2)
	}
	m.payAll()
	if got := m.landedBy(chain.KindPayout); slices.Contains(got, publicOf("member a")) {
		t.Errorf("the payout was signed by %v, want members b and c", got)
	}
	m.checkBooks()
}

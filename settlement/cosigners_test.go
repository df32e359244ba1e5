package settlement

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs/audit"
	"github.com/ionet-settlement/ionet/settlement/genesis"
)

// newBoard makes a network whose mint and vaults belong to 2 of 3, and a service
// that holds the keys of the members named.
func newBoard(t *testing.T, held ...string) *machine {
	t.Helper()
	return newBoardWith(t, func(*genesis.Config) {}, held...)
}

func newBoardWith(t *testing.T, change func(*genesis.Config), held ...string) *machine {
	t.Helper()
	var members []ed25519.PrivateKey
	for _, name := range held {
		members = append(members, keyOf(name))
	}
	three := fmt.Sprintf("2of3:%s,%s,%s", publicOf("member a"), publicOf("member b"), publicOf("member c"))
	return newMachineWith(t, testPolicy, func(c *genesis.Config) {
		change(c)
		for _, to := range []*genesis.Authority{&c.Mint, &c.Reward, &c.Fee} {
			var err error
			if *to, err = genesis.ParseAuthority(three); err != nil {
				t.Fatal(err)
			}
		}
	}, members...)
}

func publicOf(name string) ionet.Key { return chain.PublicOf(keyOf(name)) }

// hold replaces the members that the service has, as when their signers come and go.
func (m *machine) hold(names ...string) {
	m.members = nil
	for _, name := range names {
		m.members = append(m.members, keyOf(name))
	}
	cfg := m.Service.cfg
	cfg.Keys.Members, cfg.Signers = m.members, nil
	m.Service.signers = newSigners(cfg)
}

// landedBy returns who co-signed the newest transaction of that kind that landed.
func (m *machine) landedBy(kind chain.Kind) []ionet.Key {
	m.t.Helper()
	var tx []byte
	err := m.pool.QueryRow(m.t.Context(), `
SELECT a.transaction FROM attempts a JOIN attempt_steps t ON t.message = a.message JOIN contents c ON c.hash = t.content AND c.state = 'won'
WHERE a.kind = $1 AND a.state = 'won' ORDER BY a.created_at DESC, c.position DESC LIMIT 1`, int16(kind)).Scan(&tx)
	if err != nil {
		m.t.Fatalf("the newest %s: %v", kind, err)
	}
	d, err := chain.Decode(tx)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, list := range d.Plan.Cosigners {
		return list
	}
	return nil
}

// An epoch, a payout and a claim by 2 of 3, one member of which is lost on the way:
// the books agree, and the audit holds.
func TestTwoOfThree(t *testing.T) {
	m := newBoard(t, "member a", "member b", "member c")
	m.fenceUp()
	m.seal(m.alice, m.bob)
	if got := m.landedBy(chain.KindEpoch); len(got) != 2 {
		t.Errorf("epoch was minted by %v, want two members", got)
	}
	m.payAll()
	before := m.landedBy(chain.KindPayout)

	// One of the two who signed is lost: the other and the third go on.
	left := slices.DeleteFunc([]string{"member a", "member b", "member c"}, func(n string) bool { return publicOf(n) == before[0] })
	m.hold(left...)
	m.seal(m.alice, m.bob)
	m.payAll()
	if got := m.landedBy(chain.KindPayout); slices.Contains(got, before[0]) || len(got) != 2 {
		t.Errorf("payout was signed by %v, want the two that are left", got)
	}
	if got := m.onChain(m.bob.payout); got == 0 || m.owed(m.bob) != 0 {
		t.Errorf("bob has %d and is owed %d, want all", got, m.owed(m.bob))
	}
	m.claimAll(m.alice)
	m.checkBooks()
	m.advance(40)
	r, err := audit.Run(t.Context(), audit.Config{Chain: m.clean, Store: m.store, Mint: m.net.Network.Mint})
	if err != nil || r.Status() != 0 {
		t.Errorf("audit: %v, %+v", err, r)
	}
}

// Two of three members mint, pay, pay out a deposit again, release what two of two
// own, and give the mint up.
func TestTwoOfThreeToTheEnd(t *testing.T) {
	m := newBoardWith(t, func(c *genesis.Config) {
		var err error
		if c.Schedule, err = c.Schedule.Shorten(shortEpochs); err != nil {
			t.Fatal(err)
		}
		two := fmt.Sprintf("community=2of2:%s,%s", publicOf("member a"), publicOf("member c"))
		if c.Owners, err = genesis.ParseOwners([]string{two}); err != nil {
			t.Fatal(err)
		}
		c.Beneficiaries = map[string][]ionet.Beneficiary{"community": {{Wallet: wallet("d"), Parts: 1}}}
	}, "member a", "member c")
	m.funded()
	if got := m.mintState().Authority; got != m.net.Network.Authorities.Mint {
		t.Errorf("mint authority is %s, want multisig %s", got, m.net.Network.Authorities.Mint)
	}
	renter := keyOf("renter")
	m.payIn(chain.PublicOf(renter), 1000)
	had := m.onChain(m.bob.payout)
	w := m.withdraw(m.withdrawal(renter, 1, 300, m.bob.payout, hour))
	m.untilPaid(w.Payment)
	if got := m.onChain(m.bob.payout) - had; got != 300 || len(m.landedBy(chain.KindWithdrawal)) != 2 {
		t.Errorf("the recipient got %d, want 300 by two members", got)
	}
	m.checkVaults()
	community, _ := m.net.Network.AllocationOf("community")
	m.releaseAll("community")
	m.checkReleased("community", community.Amount.Base())
	if got := m.landedBy(chain.KindUnlock); len(got) != 2 {
		t.Errorf("community was released by %v, want two members", got)
	}
	m.lastSealed()
	m.until("the mint is retired", func() bool { return m.position(epochLane) > shortEpochs+1 })
	if got := m.mintState().Authority; !got.IsZero() || len(m.landedBy(chain.KindRetire)) != 2 {
		t.Errorf("mint authority is %s, want none, given up by two members", got)
	}
	m.advance(40)
	r, err := audit.Run(t.Context(), audit.Config{Chain: m.clean, Store: m.store, Mint: m.net.Network.Mint})
	if err != nil || r.Status() != 0 {
		t.Errorf("audit: %v, %+v", err, r)
	}
}

// With one member of two needed nothing is signed, nothing is persisted, and the
// pass says what is missing; what moves no money goes on.
func TestOneOfTwoNeeded(t *testing.T) {
	m := newBoard(t, "member a", "member b")
	m.fenceUp()
	m.hold("member b")
	k := m.playNext(m.alice, m.bob)
	for range 5 {
		err := m.Settle(t.Context())
		if err != nil && !errors.Is(err, errTooFewCosigners) {
			t.Fatal(err)
		}
		m.advance(2)
	}
	if err := m.Settle(t.Context()); !errors.Is(err, errTooFewCosigners) || !strings.Contains(err.Error(), "2 of 3 members of multisig") {
		t.Errorf("pass with one member: got %v, want too few co-signers", err)
	}
	if n := m.count(`SELECT count(*) FROM contents WHERE lane = 'epoch' AND position = $1`, int64(k)); n != 0 || m.position(epochLane) != k {
		t.Errorf("%d contents of epoch %d are persisted, the lane is at %d; want none", n, k, m.position(epochLane))
	}
	m.hold("member b", "member c")
	m.until("the epoch is sealed", func() bool { return m.position(epochLane) > k })
	m.payAll()
	m.claimAll(m.alice)
	m.checkBooks()
}

// A payout whose transaction died is signed again by others where one who signed it
// is lost: the same content, which is paid once.
func TestDeadPayoutIsSignedByOthers(t *testing.T) {
	m := newBoard(t, "member a", "member b")
	m.fenceUp()
	m.seal(m.alice, m.bob)
	m.wires.dropping(true)
	if _, err := m.RequestPayout(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		m.pass()
	}
	m.hold("member b", "member c")
	m.advance(blockhashLife)
	m.pass()
	m.pass()
	m.wires.dropping(false)
	m.until("bob is paid", func() bool { return m.onChain(m.bob.payout) > 0 })
	m.finish(0)
	if n := m.count(`SELECT count(*) FROM contents WHERE kind = $1`, int16(chain.KindPayout)); n != 1 {
		t.Errorf("%d contents were signed for one debt, want 1", n)
	}
	if got := m.landedBy(chain.KindPayout); slices.Contains(got, publicOf("member a")) {
		t.Errorf("the payout that landed is by %v, want those that are left", got)
	}
	m.checkBooks()
}

// A process dies at some of the steps of a network that 2 of 3 sign for.
func TestKillAtStepsOfABoard(t *testing.T) {
	m := newBoard(t, "member a", "member c")
	m.fenceUp()
	failEachStep(t, m, unheard, true, 2, 6)
}

// A claim that was prepared for a member who is away since is prepared anew, for
// others, at once.
func TestClaimOfAnotherCoSigner(t *testing.T) {
	m := newBoard(t, "member a", "member b", "member c")
	m.fenceUp()
	m.seal(m.alice)
	first, err := m.PrepareClaim(t.Context(), m.alice.payout)
	if err != nil {
		t.Fatal(err)
	}
	d, err := chain.Decode(first.Transaction)
	if err != nil {
		t.Fatal(err)
	}
	again, err := m.PrepareClaim(t.Context(), m.alice.payout)
	if err != nil || again.Message != first.Message {
		t.Errorf("the same request gives other bytes: %v", err)
	}
	lost := d.Plan.Cosigners[m.net.Network.Authorities.Reward][0]
	m.hold(slices.DeleteFunc([]string{"member a", "member b", "member c"}, func(n string) bool { return publicOf(n) == lost })...)
	other, err := m.PrepareClaim(t.Context(), m.alice.payout)
	if err != nil || other.Message == first.Message {
		t.Fatalf("a claim of a lost member is handed out again: %v", err)
	}
	if _, err := m.SubmitClaim(t.Context(), m.signClaim(m.alice, other)); err != nil {
		t.Fatal(err)
	}
	m.claimAll(m.alice)
	m.checkBooks()
}

// A provider whose wallet is a member claims with the signatures of the others.
func TestMemberClaims(t *testing.T) {
	m := newBoard(t, "member a", "member b", "member c")
	m.fenceUp()
	plan := chain.Plan{Kind: chain.KindClaim, FeePayer: publicOf("member a")}
	if err := m.authorize(&plan, m.net.Network.Vaults.Reward); err != nil {
		t.Fatal(err)
	}
	want := []ionet.Key{publicOf("member b"), publicOf("member c")}
	slices.SortFunc(want, func(a, b ionet.Key) int { return slices.Compare(a[:], b[:]) })
	if got := plan.Cosigners[m.net.Network.Authorities.Reward]; !slices.Equal(got, want) {
		t.Errorf("co-signers are %v, want %v", got, want)
	}
	m.cosigners.note(publicOf("member a"), chain.KindPayout, false, m.now())
	plan = chain.Plan{Kind: chain.KindPayout, FeePayer: m.net.Network.Keys.Operator}
	if err := m.authorize(&plan, m.net.Network.Vaults.Reward); err != nil || !slices.Equal(plan.Cosigners[m.net.Network.Authorities.Reward], want) {
		t.Errorf("one who did not sign is asked again at once: %v, %v", plan.Cosigners, err)
	}
	later := m.now().Add(2 * cosignerRest).Unix()
	m.goTo(later)
	plan = chain.Plan{Kind: chain.KindPayout, FeePayer: m.net.Network.Keys.Operator}
	if err := m.authorize(&plan, m.net.Network.Vaults.Reward); err != nil || !slices.Equal(plan.Cosigners[m.net.Network.Authorities.Reward], want) {
		t.Errorf("one who was away is asked while the others sign: %v, %v", plan.Cosigners, err)
	}
	if m.payees != 54 {
		t.Errorf("a payout takes %d payees, want 54", m.payees)
	}
}

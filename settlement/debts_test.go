package settlement

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

// blockhashLife is how many blocks a blockhash is valid for, and some.
const blockhashLife = 160

// A transaction that the network forgets dies by the dead rule only, and the
// same content is then signed again for the same position.
func TestDeadPayoutIsSignedAgain(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	m.wires.dropping(true)
	if _, err := m.RequestPayout(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		m.pass()
	}
	if n := m.count(`SELECT count(*) FROM attempts WHERE kind = $1`, int16(chain.KindPayout)); n != 1 {
		t.Fatalf("%d payouts are signed while the first may live", n)
	}
	m.advance(blockhashLife)
	m.pass()
	m.pass()
	m.wires.dropping(false)
	m.until("bob is paid", func() bool { return m.onChain(m.bob.payout) > 0 })
	m.finish(0)
	for state, want := range map[string]int{"dead": 1, "won": 1} {
		if n := m.count(`SELECT count(*) FROM attempts WHERE kind = $1 AND state = $2`, int16(chain.KindPayout), state); n != want {
			t.Errorf("%d payouts are %s, want %d", n, state, want)
		}
	}
	if n := m.count(`SELECT count(*) FROM contents WHERE kind = $1`, int16(chain.KindPayout)); n != 1 {
		t.Errorf("%d contents were signed for one debt, want 1", n)
	}
	m.checkBooks()
}

// The same request gives the same bytes while they can land.
func TestPrepareClaimIsStable(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice)
	first := m.prepare(m.alice)
	m.advance(10)
	if again := m.prepare(m.alice); !bytes.Equal(again.Transaction, first.Transaction) {
		t.Error("a second request gives other bytes")
	}
	m.advance(blockhashLife)
	if late := m.prepare(m.alice); bytes.Equal(late.Transaction, first.Transaction) {
		t.Error("an expired claim is handed out again")
	}
	m.seal(m.alice)
	if more := m.prepare(m.alice); more.Amount.Base() != m.owed(m.alice) || more.Amount == first.Amount {
		t.Errorf("claim is for %s, owed are %d", more.Amount, m.owed(m.alice))
	}
}

func (m *machine) prepare(h *host) Prepared {
	m.t.Helper()
	p, err := m.PrepareClaim(m.t.Context(), h.payout)
	if err != nil {
		m.t.Fatal(err)
	}
	return p
}

// wantProblem checks that err is a problem of that type.
func wantProblem(t *testing.T, err error, kind string) {
	t.Helper()
	var p *Problem
	if !errors.As(err, &p) || p.Type != kind {
		t.Errorf("got %v, want problem %s", err, kind)
	}
}

// Everything that a wallet, or somebody else, may bring instead of the claim.
func TestClaimProblems(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	ctx := t.Context()
	_, err := m.PrepareClaim(ctx, m.alice.payout)
	wantProblem(t, err, ProblemNothingToClaim)
	m.seal(m.alice, m.bob)
	p := m.prepare(m.alice)
	d, err := chain.Decode(p.Transaction)
	if err != nil {
		t.Fatal(err)
	}
	thief := keyOf("thief")
	if _, err := m.node.Airdrop(solana.PublicKey(chain.PublicOf(thief)), 1_000_000_000); err != nil {
		t.Fatal(err)
	}
	m.advance(2)
	changed := func(key ed25519.PrivateKey, change func(*chain.Plan)) []byte {
		plan := d.Plan
		plan.Movements = slices.Clone(plan.Movements)
		change(&plan)
		message, err := plan.Message()
		if err != nil {
			t.Fatal(err)
		}
		tx, _, err := chain.SignMessage(message, key)
		if err != nil {
			t.Fatal(err)
		}
		return tx
	}
	wallet := m.wallet[m.alice.payout]
	for _, c := range []struct {
		name, kind string
		tx         []byte
	}{
		{"garbage", ProblemClaimChanged, []byte("no transaction")},
		{"unsigned", ProblemWrongSignature, p.Transaction},
		{"another amount", ProblemClaimChanged, changed(wallet, func(p *chain.Plan) { p.Movements[0].Amount, _ = p.Movements[0].Amount.Add(ionet.MustAmount(1)) })},
		{"another destination", ProblemClaimChanged, changed(wallet, func(p *chain.Plan) {
			p.CreateDestinationFor, p.Movements[0].Destination = ionet.Key{}, chain.TokenAccount(m.bob.payout, p.Mint)
		})},
		{"another blockhash", ProblemUnknownClaim, changed(wallet, func(p *chain.Plan) { p.Blockhash = ionet.Key{1} })},
		{"another budget", ProblemClaimChanged, changed(wallet, func(p *chain.Plan) { p.Budget.ComputeUnits++ })},
		{"another fee payer", ProblemNotYourClaim, changed(thief, func(p *chain.Plan) { p.FeePayer = chain.PublicOf(thief) })},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := m.SubmitClaim(ctx, c.tx)
			wantProblem(t, err, c.kind)
		})
	}
	_, err = m.ClaimStatus(ctx, ionet.Hash{1})
	wantProblem(t, err, ProblemUnknownClaim)
	if n := m.count(`SELECT count(*) FROM payments`); n != 0 {
		t.Errorf("%d payments were signed", n)
	}
	m.claimAll(m.alice)
	m.payAll()
	m.checkBooks()
}

// A claim is checked again when it is handed in: a payout may have been faster.
func TestClaimAfterPayout(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice, m.bob) // alice's part stays in the vault
	p := m.prepare(m.bob)
	m.payAll()
	_, err := m.SubmitClaim(t.Context(), m.signClaim(m.bob, p))
	wantProblem(t, err, ProblemClaimExpired)
	m.checkBooks()
}

// A claim that is handed in twice is one claim.
func TestClaimTwice(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice)
	tx := m.signClaim(m.alice, m.prepare(m.alice))
	first, err := m.SubmitClaim(t.Context(), tx)
	if err != nil {
		t.Fatal(err)
	}
	again, err := m.SubmitClaim(t.Context(), tx)
	if err != nil || again.Message != first.Message {
		t.Errorf("handed in again: %+v, %v", again, err)
	}
	m.claimAll(m.alice)
	got, err := m.SubmitClaim(t.Context(), tx)
	if err != nil || got.State != ClaimPaid || got.Slot == 0 || got.Signature.IsZero() {
		t.Errorf("handed in when it is paid: %+v, %v", got, err)
	}
	m.checkBooks()
}

// A wallet may append assertions of Lighthouse, but none that names a key of
// ours, and no other instruction.
func TestClaimWithLighthouse(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice)
	p := m.prepare(m.alice)
	lighthouse := solana.MustPublicKeyFromBase58("L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95")
	wallet, operator := solana.PublicKey(m.alice.payout), solana.PublicKey(m.net.Network.Keys.Operator)
	assertion := solana.NewInstruction(lighthouse, solana.AccountMetaSlice{solana.NewAccountMeta(wallet, false, false)}, []byte{1})
	for _, c := range []struct {
		name, kind string
		added      []solana.Instruction
	}{
		{"one assertion", "", []solana.Instruction{assertion}},
		{"two assertions", "", []solana.Instruction{assertion, assertion}},
		{"an assertion on the operator", ProblemClaimChanged,
			[]solana.Instruction{solana.NewInstruction(lighthouse, solana.AccountMetaSlice{solana.NewAccountMeta(operator, false, false)}, []byte{1})}},
		{"another program", ProblemClaimChanged, []solana.Instruction{solana.NewInstruction(solana.MemoProgramID, nil, []byte("hello"))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tx := m.extend(p.Transaction, c.added...)
			if c.kind != "" {
				_, err := m.SubmitClaim(t.Context(), tx)
				wantProblem(t, err, c.kind)
				return
			}
			d, err := chain.Decode(tx)
			if err != nil {
				t.Fatal(err)
			}
			got, err := m.matchPrepared(t.Context(), d)
			if err != nil || got.wallet != m.alice.payout || got.amount != p.Amount {
				t.Errorf("matched %+v, %v", got, err)
			}
		})
	}
}

// extend appends instructions to a transaction, as a wallet does, and signs it
// with alice's.
func (m *machine) extend(tx []byte, added ...solana.Instruction) []byte {
	m.t.Helper()
	was, err := solana.TransactionFromBytes(tx)
	if err != nil {
		m.t.Fatal(err)
	}
	var list []solana.Instruction
	for _, in := range was.Message.Instructions {
		accounts, err := in.ResolveInstructionAccounts(&was.Message)
		if err != nil {
			m.t.Fatal(err)
		}
		list = append(list, solana.NewInstruction(was.Message.AccountKeys[in.ProgramIDIndex], accounts, in.Data))
	}
	now, err := solana.NewTransaction(append(list, added...), was.Message.RecentBlockhash,
		solana.TransactionPayer(was.Message.AccountKeys[0]), solana.TransactionMessageVersion(solana.MessageVersionV0))
	if err != nil {
		m.t.Fatal(err)
	}
	message, err := now.Message.MarshalBinary()
	if err != nil {
		m.t.Fatal(err)
	}
	signed, _, err := chain.SignMessage(message, m.wallet[m.alice.payout])
	if err != nil {
		m.t.Fatal(err)
	}
	return signed
}

// Two wallets of one lane claim at once: one lands, the other's debt comes back
// and lands after it.
func TestTwoClaimsForOnePosition(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	carol := m.newPaid("carol of the lane of "+m.alice.payout.String(), "gpu c")
	for i := 0; m.laneNameOf(carol) != m.laneNameOf(m.alice); i++ {
		carol = m.newPaid("carol "+strings.Repeat("i", i), "gpu c")
	}
	m.register(carol)
	m.seal(m.alice, carol)
	a, c := m.prepare(m.alice), m.prepare(carol)
	if a.Lane != c.Lane || a.Position != c.Position {
		t.Fatalf("claims are for %s %d and %s %d", a.Lane, a.Position, c.Lane, c.Position)
	}
	for h, p := range map[*host]Prepared{m.alice: a, carol: c} {
		if _, err := m.SubmitClaim(t.Context(), m.signClaim(h, p)); err != nil {
			t.Fatal(err)
		}
	}
	m.until("one landed", func() bool { return m.position(a.Lane) > a.Position })
	if x, y := m.onChain(m.alice.payout) > 0, m.onChain(carol.payout) > 0; x == y {
		t.Errorf("of two claims for one position, alice's landed: %t, carol's: %t", x, y)
	}
	m.claimAll(m.alice)
	m.claimAll(carol)
	m.checkBooks()
}

func (m *machine) laneNameOf(h *host) string {
	m.t.Helper()
	free, err := m.claimLanes(m.t.Context(), h.payout)
	if err != nil {
		m.t.Fatal(err)
	}
	return free[0].name
}

// tokenAccount reads and rewrites a token account past all rules.
func (m *machine) tokenAccount(owner ionet.Key, change func(data []byte)) {
	m.t.Helper()
	key := chain.TokenAccount(owner, m.net.Network.Mint)
	list, _, err := m.clean.Accounts(m.t.Context(), []ionet.Key{key}, rpc.Confirmed, 0)
	if err != nil {
		m.t.Fatal(err)
	}
	data := bytes.Clone(list[0].Data)
	change(data)
	err = m.node.SetAccount(solana.PublicKey(key), localnet.Account{Lamports: list[0].Lamports, Owner: solana.PublicKey(list[0].Owner), Data: data})
	if err != nil {
		m.t.Fatal(err)
	}
}

// Where a token account keeps amount and state.
const (
	amountAt = 64
	stateAt  = 108
)

func (m *machine) freeze(h *host, frozen bool) {
	m.tokenAccount(h.payout, func(data []byte) { data[stateAt] = 1 + map[bool]byte{true: 1}[frozen] })
}

// Who can't be paid is held with a reason, keeps the debt, and is paid later.
func TestHeldPayees(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	alice := m.owed(m.alice)
	m.payAll() // alice has no token account
	if m.onChain(m.bob.payout) == 0 || m.owed(m.alice) != alice {
		t.Errorf("bob has %d, alice is owed %d of %d", m.onChain(m.bob.payout), m.owed(m.alice), alice)
	}
	o, err := m.Overview(t.Context())
	if err != nil || len(o.Held) != 1 || o.Held[0].Payee != m.alice.payout || o.Held[0].Reason == "" {
		t.Errorf("held payees are %+v, %v", o.Held, err)
	}
	m.openAccount(m.alice) // with which the hold ends, long before its time
	m.payAll()
	if m.onChain(m.alice.payout) != alice {
		t.Errorf("alice has %d, was owed %d", m.onChain(m.alice.payout), alice)
	}
	m.checkBooks()
	if o, err := m.Overview(t.Context()); err != nil || len(o.Held) != 0 {
		t.Errorf("held payees are %+v, %v", o.Held, err)
	}
}

// Only what a look at the account can end is ended by one; what was paid ends all.
func TestHoldsThatLast(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.openAccount(m.alice)
	m.seal(m.alice, m.bob)
	if err := m.holdAll(t.Context(), []payment{{payee: m.alice.payout}, {payee: m.bob.payout}}, []string{"a node refused it", accountHold + "it is frozen"}); err != nil {
		t.Fatal(err)
	}
	bob := m.owed(m.bob)
	m.payAll()
	if m.onChain(m.alice.payout) != 0 || m.onChain(m.bob.payout) != bob {
		t.Errorf("alice has %d, held by a node; bob has %d, was owed %d", m.onChain(m.alice.payout), m.onChain(m.bob.payout), bob)
	}
	m.exec(`UPDATE held_payees SET retry_at = $1`, m.now())
	m.payAll()
	if n := m.count(`SELECT count(*) FROM held_payees`); n != 0 {
		t.Errorf("%d holds are left of payees who were paid", n)
	}
}

// A payee breaks a batch after it was rehearsed: it leaves the batch with a
// reason, the position is passed, and the rest are paid.
func TestBrokenBatch(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.openAccount(m.alice)
	m.seal(m.alice, m.bob)
	alice, bob := m.owed(m.alice), m.owed(m.bob)
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
	if got := m.onChain(m.alice.payout); got != alice || m.owed(m.bob) != bob {
		t.Errorf("alice has %d of %d, bob is owed %d of %d", got, alice, m.owed(m.bob), bob)
	}
	o, err := m.Overview(t.Context())
	if err != nil || len(o.Held) != 1 || o.Held[0].Payee != m.bob.payout {
		t.Errorf("held payees are %+v, %v", o.Held, err)
	}
	m.freeze(m.bob, false)
	m.advance(2)
	m.exec(`UPDATE held_payees SET retry_at = $1`, m.now())
	m.payAll()
	if got := m.onChain(m.bob.payout); got != bob {
		t.Errorf("bob has %d, was owed %d", got, bob)
	}
	m.finish(0)
	m.checkBooks()
}

// A batch that no transaction can hold is several.
func TestManyPayees(t *testing.T) {
	if testing.Short() {
		t.Skip("opens 60 accounts")
	}
	m := newMachine(t)
	m.fenceUp()
	hosts := []*host{m.bob}
	for i := range 60 {
		h := m.newPaid(strings.Repeat("many ", 1+i), "gpu "+strings.Repeat("m", 1+i))
		m.register(h)
		m.openAccount(h)
		hosts = append(hosts, h)
	}
	m.seal(hosts...)
	m.payAll()
	for _, h := range hosts {
		if m.owed(h) != 0 {
			t.Errorf("%s is still owed %d", h.payout, m.owed(h))
		}
	}
	if n := m.count(`SELECT count(*) FROM contents WHERE kind = $1 AND state = 'won'`, int16(chain.KindPayout)); n != 2 {
		t.Errorf("61 payees took %d payouts, want 2", n)
	}
	m.checkBooks()
}

// Tokens leave the vault past our books: nothing is sent until a person mended it.
func TestVaultShortfallStopsSending(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	operator := m.net.Network.Keys.Operator
	add := func(n int64) {
		m.tokenAccount(operator, func(data []byte) {
			binary.LittleEndian.PutUint64(data[amountAt:], uint64(int64(binary.LittleEndian.Uint64(data[amountAt:]))+n))
		})
		m.advance(2)
	}
	signed := func() int { return m.count(`SELECT count(*) FROM attempts`) }
	before := signed()
	add(-1)
	if _, err := m.RequestPayout(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.playNext(m.alice)
	for range 3 {
		if err := m.Settle(t.Context()); !errors.Is(err, ErrHalted) {
			t.Fatalf("a pass with a vault that lacks a base unit: %v", err)
		}
		m.advance(2)
	}
	_, err := m.PrepareClaim(t.Context(), m.alice.payout)
	wantProblem(t, err, ProblemBusy)
	if signed() != before {
		t.Error("something was signed although the vault lacks tokens")
	}
	if !m.saw(EventHalted) {
		t.Error("nobody was told")
	}
	add(+1)
	m.resumes("", false) // the tokens are back, and a person has looked
	add(+1)              // one more than there should be: a stranger's gift stops nothing
	m.fenceUp()
	m.claimAll(m.alice)
	m.payAll()
	add(-1)
	m.finish(0)
	m.checkBooks()
}

// A claim and a payout run race for the same debt, over and over: each debt is
// paid once, whichever wins.
func TestClaimRacesPayout(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	for range 4 {
		m.seal(m.bob)
		if _, err := m.RequestPayout(t.Context()); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = m.Settle(t.Context())
		}()
		m.tryClaim(t.Context(), m.bob)
		<-done
		m.finish(0)
		m.checkBooks()
		if m.owed(m.bob) != 0 {
			t.Errorf("bob is still owed %d", m.owed(m.bob))
		}
	}
}

// A wallet that claims while a payout to it is being prepared takes only its own batch out
// of the pass; the others are paid in it.
func TestClaimDuringPayout(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.openAccount(m.alice)
	m.seal(m.alice, m.bob)
	lanes, _, err := m.catchUp(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pool, err := m.payLanes(t.Context(), lanes, nil)
	if err != nil {
		t.Fatal(err)
	}
	var drafts []draft
	for _, h := range []*host{m.alice, m.bob} {
		l, ok := pool.take()
		if !ok {
			t.Fatal("no lane is free")
		}
		amount, err := ionet.NewAmount(m.owed(h))
		if err != nil {
			t.Fatal(err)
		}
		d, err := m.payoutDraft(chain.KindPayout, l, [16]byte{byte(len(drafts))}, []payment{{h.payout, chain.TokenAccount(h.payout, m.net.Network.Mint), amount}})
		if err != nil {
			t.Fatal(err)
		}
		drafts = append(drafts, d)
	}
	if _, ok := m.tryClaim(t.Context(), m.alice); !ok {
		t.Fatal("no claim")
	}
	if err := m.launchAll(t.Context(), drafts); !errors.Is(err, errPositionTaken) {
		t.Errorf("the batch of who claimed is left out with %v", err)
	}
	if n := m.count(`SELECT count(*) FROM payments WHERE kind = $1 AND state = 'signed' AND payee = $2`, int16(chain.KindPayout), m.bob.payout[:]); n != 1 {
		t.Errorf("bob has %d payouts on their way, want 1", n)
	}
	m.finish(0)
	m.checkBooks()
}

package chain_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

// board is a world whose mint and reward vault belong to two multisigs of the
// same three members, of whom two sign.
type board struct {
	*world
	members []ed25519.PrivateKey // ascending by public key
	state   chain.MultisigState
	minter  ionet.Key
	owner   ionet.Key // of the reward vault
	rent    uint64
}

func compare(a, b ionet.Key) int { return slices.Compare(a[:], b[:]) }

// newBoard makes the multisigs, one of which strangers sent lamports to, and the
// vault; genesis hands the mint over.
func newBoard(t *testing.T, lanes ...string) *board {
	t.Helper()
	b := &board{world: newWorld(t, append([]string{"epoch"}, lanes...)...)}
	for range 3 {
		b.members = append(b.members, newKey(t))
	}
	return b.found(t)
}

func (b *board) found(t *testing.T) *board {
	t.Helper()
	slices.SortFunc(b.members, func(x, y ed25519.PrivateKey) int { return compare(chain.PublicOf(x), chain.PublicOf(y)) })
	b.state.M = 2
	for _, k := range b.members {
		b.state.Members = append(b.state.Members, chain.PublicOf(k))
	}
	b.minter, b.owner = chain.MultisigAddress(b.op(), 0, b.state), chain.MultisigAddress(b.op(), 1, b.state)
	var err error
	if b.rent, err = b.client.MinimumRent(context.Background(), chain.MultisigSize); err != nil {
		t.Fatal(err)
	}
	b.fund(b.owner, 890_880)
	b.refresh()
	b.must(b.build(b.creation(b.rent, chain.Missing(b.rent, 890_880)).Message()), b.operator)
	b.reward = chain.TokenAccount(b.owner, b.mint)
	b.must(b.build(chain.AccountCreation{FeePayer: b.op(), Mint: b.mint, Owners: []ionet.Key{b.owner}, Blockhash: b.hash.Hash,
		Budget: chain.Budget{ComputeUnits: 400_000, LoadedBytes: 2 << 20}}.Message()), b.operator)

	h := ionet.HashOf([]byte("h"))
	p := b.plan(chain.KindGenesis, fmt.Sprintf("io1 genesis network=%s emission=%s", ionet.Key(h), h),
		chain.Movement{Op: chain.Mint, Source: b.mint, Destination: chain.TokenAccount(b.op(), b.mint), Amount: ionet.MustAmount(5)})
	p.Reference, p.HandMintTo = chain.GenesisReference(b.mint), b.minter
	at := b.first("epoch")
	next := b.step(&p, at)
	if err := b.pass(p, at); err != nil {
		t.Fatal(err)
	}
	p = b.epoch(1, 1_000_000)
	b.cosign(&p, b.minter, 0, 1)
	b.step(&p, next)
	if err := b.passBy(p, next, 0, 1); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *board) creation(rents ...uint64) chain.MultisigCreation {
	c := chain.MultisigCreation{FeePayer: b.op(), Blockhash: b.hash.Hash, Budget: chain.Budget{ComputeUnits: 100_000, LoadedBytes: 2 << 20}}
	for i, rent := range rents {
		c.Multisigs = append(c.Multisigs, chain.NewMultisig{Index: i, MultisigState: b.state, Lamports: rent})
	}
	return c
}

// cosign makes the source that of the multisig, for which members sign.
func (b *board) cosign(p *chain.Plan, owner ionet.Key, members ...int) {
	list := []ionet.Key{}
	for _, i := range members {
		list = append(list, b.state.Members[i])
	}
	p.Owners, p.Cosigners = map[ionet.Key]ionet.Key{p.Movements[0].Source: owner}, map[ionet.Key][]ionet.Key{owner: list}
	p.Budget = p.DefaultBudget()
}

// passBy is pass with the members' signatures.
func (b *board) passBy(p chain.Plan, at position, members ...int) error {
	b.t.Helper()
	return b.send(b.build(p.Message()), b.keys(at, members...)...)
}

func (b *board) keys(at position, members ...int) []ed25519.PrivateKey {
	keys := []ed25519.PrivateKey{b.operator, b.secret.Key(at.c)}
	for _, i := range members {
		keys = append(keys, b.members[i])
	}
	return keys
}

// paid is a payout from the board's vault at the lane's first position.
func (b *board) paid(lane string, batch byte, moves []chain.Movement, members ...int) (chain.Plan, position) {
	b.t.Helper()
	p := b.payout(batch, moves...)
	b.cosign(&p, b.owner, members...)
	at := b.first(lane)
	b.step(&p, at)
	return p, at
}

func TestMultisigPaysFiftyFour(t *testing.T) {
	b := newBoard(t, "pay-0")
	moves := b.payees(54)
	p, at := b.paid("pay-0", 1, moves, 0, 2)
	tx, missing, err := chain.SignMessage(b.build(p.Message()), b.keys(at, 0, 2)...)
	if err != nil || len(missing) > 0 {
		t.Fatalf("sign: %v, missing %v", err, missing)
	}
	sim, err := b.client.Simulate(context.Background(), tx, 0)
	if err != nil || sim.Err != nil {
		t.Fatalf("simulate: %+v, %v", sim, err)
	}
	t.Logf("54 payees by 2 of 3: %d bytes, %d units of %d, %d bytes loaded of %d", len(tx), sim.Units, p.Budget.ComputeUnits, sim.Loaded, p.Budget.LoadedBytes)
	if err := b.sendTx(tx); err != nil {
		t.Fatal(err)
	}
	for i, m := range moves {
		if got := b.balance(m.Destination); got != m.Amount.Base() {
			t.Errorf("payee %d has %d, want %s", i, got, m.Amount)
		}
	}
	d, err := chain.Decode(tx)
	if err != nil || !slices.Equal(d.Plan.Cosigners[b.owner], []ionet.Key{b.state.Members[0], b.state.Members[2]}) {
		t.Errorf("decoded cosigners: %v, %v", d.Plan.Cosigners, err)
	}
}

// The operator as a member signs once for both, so that one payee more fits.
func TestOperatorCoSignsFiftyFive(t *testing.T) {
	b := &board{world: newWorld(t, "epoch", "pay-0")}
	b.members = []ed25519.PrivateKey{b.operator, newKey(t), newKey(t)}
	b.found(t)
	op := slices.Index(b.state.Members, b.op())
	two := []int{op, (op + 1) % 3}
	slices.Sort(two)
	moves := b.payees(55)
	p, at := b.paid("pay-0", 1, moves, two...)
	if got := len(p.Signers()); got != 3 {
		t.Errorf("%d signers, want 3: operator, one-time key, one member", got)
	}
	if err := b.passBy(p, at, two...); err != nil {
		t.Fatal(err)
	}
	if got := b.balance(moves[54].Destination); got != moves[54].Amount.Base() {
		t.Errorf("the last payee has %d, want %s", got, moves[54].Amount)
	}
}

// Other members may sign the same content: at most one of the two lands.
func TestTwoSetsOfCoSigners(t *testing.T) {
	b := newBoard(t, "pay-0")
	moves := b.payees(2)
	first, at := b.paid("pay-0", 1, moves, 0, 1)
	second, _ := b.paid("pay-0", 1, moves, 1, 2)
	x, _ := first.Content(at.lane, at.n, at.c)
	y, _ := second.Content(at.lane, at.n, at.c)
	if x.Hash() != y.Hash() || first.Steps[0] != second.Steps[0] {
		t.Fatal("the co-signers are part of the content")
	}
	if err := b.passBy(first, at, 0, 1); err != nil {
		t.Fatal(err)
	}
	wantFirstStepFails(t, "the same content by others", b.passBy(second, at, 1, 2))
	if got := b.balance(moves[0].Destination); got != moves[0].Amount.Base() {
		t.Errorf("paid %d, want %s once", got, moves[0].Amount)
	}
}

// wantRefused checks that the chain refused the transaction and the lane stayed.
func (b *board) wantRefused(what string, err error) {
	b.t.Helper()
	var failed *rpc.TransactionError
	if !errors.As(err, &failed) || failed.Name != "InstructionError" || failed.Instruction == 0 {
		b.t.Errorf("%s: got %v, want the payload refused", what, err)
	}
	if got, want := b.state0(), b.secret.Public(b.first("pay-0").c); got != want {
		b.t.Errorf("%s: the lane moved", what)
	}
}

func (b *board) state0() ionet.Key { return b.world.state("pay-0") }

func TestTooFewCoSigners(t *testing.T) {
	b := newBoard(t, "pay-0")
	moves := b.payees(1)
	one, at := b.paid("pay-0", 1, moves, 1)
	b.wantRefused("m-1 members", b.passBy(one, at, 1))

	foreign, _ := b.paid("pay-0", 2, moves, 0, 1)
	stranger := newKey(t)
	list := []ionet.Key{b.state.Members[0], chain.PublicOf(stranger)}
	slices.SortFunc(list, compare)
	foreign.Cosigners[b.owner] = list
	b.wantRefused("a member and a stranger", b.send(b.build(foreign.Message()), append(b.keys(at, 0), stranger)...))

	alone, _ := b.paid("pay-0", 3, moves, 0, 1)
	alone.Owners[b.reward], alone.Cosigners = b.op(), nil
	b.wantRefused("the operator alone", b.pass(alone, at))

	// One member named twice: we build no such thing, and the program counts him once.
	twice, _ := b.paid("pay-0", 4, moves, 0, 1)
	twice.Cosigners[b.owner] = []ionet.Key{b.state.Members[0], b.state.Members[0]}
	if _, err := twice.Message(); err == nil {
		t.Error("a plan names one member twice")
	}
	err := b.sendTx(b.bare(moves[0], b.members[0], b.state.Members[0], b.state.Members[0]))
	var failed *rpc.TransactionError
	if !errors.As(err, &failed) {
		t.Errorf("one member twice: got %v, want a failure", err)
	}
	if got := b.balance(moves[0].Destination); got != 0 {
		t.Errorf("paid %d, want nothing", got)
	}
	good, _ := b.paid("pay-0", 5, moves, 1, 2)
	if err := b.passBy(good, at, 1, 2); err != nil {
		t.Fatal(err)
	}
}

// bare is a transfer from the board's vault beside every rule of ours.
func (b *board) bare(m chain.Movement, key ed25519.PrivateKey, signers ...ionet.Key) []byte {
	b.t.Helper()
	b.refresh()
	metas := solana.AccountMetaSlice{
		solana.NewAccountMeta(solana.PublicKey(m.Source), true, false), solana.NewAccountMeta(solana.PublicKey(b.mint), false, false),
		solana.NewAccountMeta(solana.PublicKey(m.Destination), true, false), solana.NewAccountMeta(solana.PublicKey(b.owner), false, false),
	}
	for _, s := range signers {
		metas = append(metas, solana.NewAccountMeta(solana.PublicKey(s), false, true))
	}
	in := solana.NewInstruction(solana.TokenProgramID, metas, []byte{12, 1, 0, 0, 0, 0, 0, 0, 0, 8})
	tx, err := solana.NewTransaction([]solana.Instruction{in}, solana.Hash(b.hash.Hash), solana.TransactionPayer(solana.PublicKey(b.op())))
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := tx.Sign(func(k solana.PublicKey) *solana.PrivateKey {
		for _, have := range []ed25519.PrivateKey{b.operator, key} {
			if chain.PublicOf(have) == ionet.Key(k) {
				p := solana.PrivateKey(have)
				return &p
			}
		}
		return nil
	}); err != nil {
		b.t.Fatal(err)
	}
	bytes, err := tx.MarshalBinary()
	if err != nil {
		b.t.Fatal(err)
	}
	return bytes
}

// After genesis the operator mints no more, and nobody makes the multisig again.
func TestHandedMint(t *testing.T) {
	b := newBoard(t)
	list, _, err := b.client.Accounts(context.Background(), []ionet.Key{b.mint, b.minter}, rpc.Confirmed, 0)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := chain.ParseMint(list[0].Owner, list[0].Data); err != nil || m.Authority != b.minter {
		t.Errorf("mint authority is %s, %v, want %s", m.Authority, err, b.minter)
	}
	if s, err := chain.ParseMultisig(list[1].Owner, list[1].Data); err != nil || s.M != 2 || !slices.Equal(s.Members, b.state.Members) {
		t.Errorf("multisig is %+v, %v", s, err)
	}
	b.refresh()
	if err := b.send(b.build(b.creation(0).Message()), b.operator); err == nil {
		t.Error("a multisig is made again")
	}
	var failed *rpc.TransactionError
	p := b.epoch(2, 5)
	at := b.first("epoch")
	g := b.plan(chain.KindGenesis, fmt.Sprintf("io1 genesis network=%s emission=%s", ionet.Key(ionet.HashOf([]byte("h"))), ionet.HashOf([]byte("h"))),
		chain.Movement{Op: chain.Mint, Source: b.mint, Destination: chain.TokenAccount(b.op(), b.mint), Amount: ionet.MustAmount(5)})
	at = b.step(&g, at) // position 1, as found has passed it
	h := ionet.HashOf([]byte{1})
	first := chain.Content{Kind: chain.KindEpoch, Lane: at.lane, N: at.n, C: at.c,
		Movements: []chain.Movement{{Op: chain.Mint, Source: b.mint, Destination: b.reward, Amount: ionet.MustAmount(1_000_000)}},
		Memo:      fmt.Sprintf("io1 epoch k=1 inputs=%s verdicts=%s count=1 sum=1000000 policy=%s prev=%s", h, h, h, h)}
	at = position{at.lane, 2, first.Next()}
	b.step(&p, at)
	if err := b.pass(p, at); !errors.As(err, &failed) || failed.Instruction != 1 {
		t.Errorf("the operator mints after genesis: got %v, want the mint refused", err)
	}
}

// A claim is signed by the wallet, the one-time key and two members; the operator
// has no part in it.
func TestClaimFromMultisig(t *testing.T) {
	b := newBoard(t, "claim-0")
	wallet := newKey(t)
	w := chain.PublicOf(wallet)
	b.fund(w, 1e9)
	b.refresh()
	p := chain.Plan{Kind: chain.KindClaim, FeePayer: w, Blockhash: b.hash.Hash, Memo: fmt.Sprintf("io1 claim wallet=%s sum=500", w), Mint: b.mint, Decimals: 8, CreateDestinationFor: w,
		Movements: []chain.Movement{{Op: chain.Transfer, Source: b.reward, Destination: chain.TokenAccount(w, b.mint), Amount: ionet.MustAmount(500)}}}
	b.cosign(&p, b.owner, 1, 2)
	at := b.first("claim-0")
	b.step(&p, at)
	tx, missing, err := chain.SignMessage(b.build(p.Message()), wallet)
	if err != nil || len(missing) != 3 {
		t.Fatalf("signed by the wallet: %v, missing %v", err, missing)
	}
	if tx, err = chain.CoSign(tx, b.secret.Key(at.c), b.members[1], b.members[2]); err != nil {
		t.Fatal(err)
	}
	if err := b.sendTx(tx); err != nil {
		t.Fatal(err)
	}
	if got := b.balance(p.Movements[0].Destination); got != 500 {
		t.Errorf("wallet has %d, want 500", got)
	}
}

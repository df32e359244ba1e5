package chain_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

// The claims of DESIGN.md on the real virtual machine and the real programs.

// world is a network on a fresh local chain whose slots pass by hand.
type world struct {
	t              *testing.T
	node           *localnet.Node
	client         *rpc.Client
	operator, lane ed25519.PrivateKey
	secret         chain.Secret
	mint, reward   ionet.Key
	mintRent       uint64
	hash           rpc.Blockhash
}

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var shared *localnet.Node

func TestMain(m *testing.M) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	var err error
	if shared, err = localnet.Start(ctx, localnet.Config{SlotTime: -1}); err != nil {
		fmt.Fprintln(os.Stderr, "start local chain:", err)
		os.Exit(1)
	}
	code := m.Run()
	cancel()
	if err := shared.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "stop local chain:", err)
		code = 1
	}
	os.Exit(code)
}

// newWorld makes a funded operator, a mint with a million base units in the
// reward vault, and the lanes named.
func newWorld(t *testing.T, lanes ...string) *world {
	t.Helper()
	client, err := rpc.New(rpc.Config{Endpoints: []string{shared.URL()}, Pause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	w := &world{t: t, node: shared, client: client, operator: newKey(t), lane: newKey(t), secret: chain.NewSecret()}
	w.mint = chain.MintAddress(w.op(), chain.LaneAddress(chain.PublicOf(w.lane), "epoch"))
	w.reward = chain.TokenAccount(w.op(), w.mint)
	w.fund(w.op(), 100e9)
	ctx := context.Background()
	if w.mintRent, err = client.MinimumRent(ctx, chain.MintSize); err != nil {
		t.Fatal(err)
	}
	w.refresh()
	budget := chain.Budget{ComputeUnits: 400_000, LoadedBytes: 2 << 20}
	w.must(w.build(chain.MintCreation{FeePayer: w.op(), EpochLane: chain.LaneAddress(chain.PublicOf(w.lane), "epoch"), Decimals: 8, Lamports: w.mintRent, Blockhash: w.hash.Hash, Budget: budget}.Message()), w.operator)
	w.must(w.build(chain.AccountCreation{FeePayer: w.op(), Mint: w.mint, Owners: []ionet.Key{w.op()}, Blockhash: w.hash.Hash, Budget: budget}.Message()), w.operator)
	for _, name := range lanes {
		w.open(name)
	}
	return w
}

func (w *world) op() ionet.Key { return chain.PublicOf(w.operator) }

func (w *world) laneAt(name string) ionet.Key { return chain.LaneAddress(chain.PublicOf(w.lane), name) }

func (w *world) fund(key ionet.Key, lamports uint64) {
	w.t.Helper()
	if _, err := w.node.Airdrop(solana.PublicKey(key), lamports); err != nil {
		w.t.Fatal(err)
	}
	w.advance(2)
}

func (w *world) advance(slots int) {
	w.t.Helper()
	if err := w.node.Advance(slots); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) refresh() {
	w.t.Helper()
	var err error
	if w.hash, err = w.client.LatestBlockhash(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) build(message []byte, err error) []byte {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	return message
}

func (w *world) opening(name string, lamports uint64) []byte {
	w.t.Helper()
	return w.build(chain.Opening{FeePayer: w.op(), LaneKey: chain.PublicOf(w.lane), Blockhash: w.hash.Hash,
		Budget: chain.Budget{ComputeUnits: 50_000, LoadedBytes: 2 << 20},
		Lanes:  []chain.NewLane{{Name: name, First: w.secret.Public(chain.FirstC(w.laneAt(name))), Lamports: lamports}}}.Message())
}

func (w *world) open(name string) {
	w.t.Helper()
	w.must(w.opening(name, w.mintRent), w.operator, w.lane)
}

// send signs and sends without preflight, lets a slot pass, and returns why
// the transaction failed.
func (w *world) send(message []byte, keys ...ed25519.PrivateKey) error {
	w.t.Helper()
	tx, missing, err := chain.SignMessage(message, keys...)
	if err != nil || len(missing) > 0 {
		w.t.Fatalf("sign: %v, missing %v", err, missing)
	}
	return w.sendTx(tx)
}

func (w *world) sendTx(tx []byte) error {
	w.t.Helper()
	ctx := context.Background()
	raw, err := chain.ParseRaw(tx, nil, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.client.Send(ctx, tx, rpc.SendOptions{SkipPreflight: true}); err != nil {
		return err
	}
	w.advance(2)
	status, err := w.client.Statuses(ctx, []chain.Signature{raw.Signature()})
	if err != nil {
		w.t.Fatal(err)
	}
	if status[0] == nil {
		return errDropped
	}
	if status[0].Err != nil {
		return status[0].Err
	}
	return nil
}

var errDropped = errors.New("the transaction is not on the chain")

func (w *world) must(message []byte, keys ...ed25519.PrivateKey) {
	w.t.Helper()
	if err := w.send(message, keys...); err != nil {
		w.t.Fatal(err)
	}
}

// position is a place on a lane.
type position struct {
	lane ionet.Key
	n    uint64
	c    ionet.Hash
}

func (w *world) first(name string) position {
	return position{w.laneAt(name), 0, chain.FirstC(w.laneAt(name))}
}

// step adds the plan's step at that position and returns the next one.
func (w *world) step(p *chain.Plan, at position) position {
	w.t.Helper()
	c := chain.Content{Kind: p.Kind, Lane: at.lane, N: at.n, C: at.c, Movements: p.Movements, Memo: p.Memo}
	p.Steps = append(p.Steps, chain.Step{Lane: at.lane, From: w.secret.Public(at.c), To: w.secret.Public(c.Next())})
	return position{at.lane, at.n + 1, c.Next()}
}

func (w *world) pass(p chain.Plan, at ...position) error {
	w.t.Helper()
	keys := []ed25519.PrivateKey{w.operator}
	for _, a := range at {
		keys = append(keys, w.secret.Key(a.c))
	}
	return w.send(w.build(p.Message()), keys...)
}

func (w *world) plan(kind chain.Kind, memo string, moves ...chain.Movement) chain.Plan {
	w.t.Helper()
	w.refresh()
	p := chain.Plan{Kind: kind, Version: 1, FeePayer: w.op(), Blockhash: w.hash.Hash, Memo: memo, Movements: moves}
	if len(moves) > 0 {
		p.Mint, p.Decimals, p.Owners = w.mint, 8, map[ionet.Key]ionet.Key{moves[0].Source: w.op()}
	}
	p.Budget = p.DefaultBudget()
	return p
}

func (w *world) fence(instance byte) chain.Plan {
	return w.plan(chain.KindFence, fmt.Sprintf("io1 fence instance=%032x", instance))
}

// epoch mints to the reward vault.
func (w *world) epoch(n, sum uint64) chain.Plan {
	h := ionet.HashOf([]byte{byte(n)})
	return w.plan(chain.KindEpoch, fmt.Sprintf("io1 epoch k=%d inputs=%s verdicts=%s count=1 sum=%d policy=%s prev=%s", n, h, h, sum, h, h),
		chain.Movement{Op: chain.Mint, Source: w.mint, Destination: w.reward, Amount: ionet.MustAmount(sum)})
}

func (w *world) payout(batch byte, moves ...chain.Movement) chain.Plan {
	var sum ionet.Amount
	for _, m := range moves {
		sum, _ = sum.Add(m.Amount)
	}
	return w.plan(chain.KindPayout, fmt.Sprintf("io1 payout batch=%032x count=%d sum=%s", batch, len(moves), sum), moves...)
}

func (w *world) state(name string) ionet.Key {
	w.t.Helper()
	list, _, err := w.client.Accounts(context.Background(), []ionet.Key{w.laneAt(name)}, rpc.Confirmed, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := chain.ParseLane(list[0].Owner, list[0].Data)
	if err != nil {
		w.t.Fatal(err)
	}
	return key
}

func (w *world) balance(account ionet.Key) uint64 {
	w.t.Helper()
	amount, _, err := w.client.TokenBalance(context.Background(), account, w.mint, rpc.Confirmed, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return amount.Base()
}

// payees opens n token accounts.
func (w *world) payees(n int) (moves []chain.Movement) {
	w.t.Helper()
	for len(moves) < n {
		var owners []ionet.Key
		for range min(5, n-len(moves)) {
			owner := chain.PublicOf(newKey(w.t))
			owners = append(owners, owner)
			moves = append(moves, chain.Movement{Op: chain.Transfer, Source: w.reward, Destination: chain.TokenAccount(owner, w.mint), Amount: ionet.MustAmount(uint64(1 + len(moves)))})
		}
		w.refresh()
		w.must(w.build(chain.AccountCreation{FeePayer: w.op(), Mint: w.mint, Owners: owners, Blockhash: w.hash.Hash,
			Budget: chain.Budget{ComputeUnits: 500_000, LoadedBytes: 2 << 20}}.Message()), w.operator)
	}
	return moves
}

// wantFirstStepFails checks that err is a failure at the first instruction.
func wantFirstStepFails(t *testing.T, what string, err error) {
	t.Helper()
	var failed *rpc.TransactionError
	if !errors.As(err, &failed) || failed.Instruction != 0 || failed.Name != "InstructionError" {
		t.Errorf("%s: got %v, want a failure at instruction 0", what, err)
	}
}

func TestOneTransactionPerPositionLands(t *testing.T) {
	w := newWorld(t, "epoch", "pay-0")
	if err := w.pass(w.epochAt(1, 1_000_000)); err != nil {
		t.Fatal(err)
	}
	moves := w.payees(2)
	a, b := w.payout(1, moves[0]), w.payout(2, moves[1])
	at := w.first("pay-0")
	afterA, afterB := w.step(&a, at), w.step(&b, at)
	onLoser := w.payout(3, moves[1])
	w.step(&onLoser, afterB)

	if err := w.pass(a, at); err != nil {
		t.Fatal(err)
	}
	w.advance(1)
	wantFirstStepFails(t, "the other transaction of the position", w.pass(b, at))
	wantFirstStepFails(t, "a transaction built on the loser", w.pass(onLoser, afterB))
	// Other blockhash, same position: still not.
	w.refresh()
	a.Blockhash = w.hash.Hash
	wantFirstStepFails(t, "the winner again over a new blockhash", w.pass(a, at))

	if got := w.state("pay-0"); got != w.secret.Public(afterA.c) {
		t.Errorf("lane shows %s, want K(1) of the winner", got)
	}
	if x, y := w.balance(moves[0].Destination), w.balance(moves[1].Destination); x != moves[0].Amount.Base() || y != 0 {
		t.Errorf("paid %d and %d, want %s and 0", x, y, moves[0].Amount)
	}
}

func (w *world) epochAt(n, sum uint64) (chain.Plan, position) {
	p := w.epoch(n, sum)
	at := w.first("epoch")
	w.step(&p, at)
	return p, at
}

func TestFiftySevenPayees(t *testing.T) {
	w := newWorld(t, "epoch", "pay-0")
	if err := w.pass(w.epochAt(1, 1_000_000)); err != nil {
		t.Fatal(err)
	}
	moves := w.payees(57)
	p := w.payout(1, moves...)
	at := w.first("pay-0")
	w.step(&p, at)
	tx, _, err := chain.SignMessage(w.build(p.Message()), w.operator, w.secret.Key(at.c))
	if err != nil {
		t.Fatal(err)
	}
	sim, err := w.client.Simulate(context.Background(), tx, 0)
	if err != nil || sim.Err != nil {
		t.Fatalf("simulate: %+v, %v", sim, err)
	}
	t.Logf("57 payees: %d bytes, %d units of %d, %d bytes loaded of %d", len(tx), sim.Units, p.Budget.ComputeUnits, sim.Loaded, p.Budget.LoadedBytes)
	if err := w.sendTx(tx); err != nil {
		t.Fatal(err)
	}
	for i, m := range moves {
		if got := w.balance(m.Destination); got != m.Amount.Base() {
			t.Errorf("payee %d has %d, want %s", i, got, m.Amount)
		}
	}
}

func TestFenceOfTenLanes(t *testing.T) {
	var names []string
	for i := range 10 {
		names = append(names, fmt.Sprint("pay-", i))
	}
	w := newWorld(t, names...)
	p := w.fence(1)
	var at []position
	for _, n := range names {
		at = append(at, w.first(n))
		w.step(&p, at[len(at)-1])
	}
	if err := w.pass(p, at...); err != nil {
		t.Fatal(err)
	}
	for i, n := range names {
		if got := w.state(n); got != p.Steps[i].To {
			t.Errorf("%s was not passed", n)
		}
	}
}

// The lane key opens lanes; afterwards it can neither override nor reopen.
func TestLaneKeyIsPowerless(t *testing.T) {
	w := newWorld(t, "pay-0")
	before := w.state("pay-0")
	w.refresh()
	if err := w.send(w.opening("pay-0", 0), w.operator, w.lane); err == nil {
		t.Error("an open lane is opened again")
	}
	p := w.fence(1)
	p.Steps = []chain.Step{{Lane: w.laneAt("pay-0"), From: chain.PublicOf(w.lane), To: chain.PublicOf(newKey(t))}}
	wantFirstStepFails(t, "a step signed by the lane key", w.send(w.build(p.Message()), w.operator, w.lane))
	if w.state("pay-0") != before {
		t.Error("the lane was overridden")
	}
}

// Anybody can send lamports to a lane's address before it is opened, less or
// more than the rent.
func TestPrefundedLaneOpens(t *testing.T) {
	w := newWorld(t)
	for i, lamports := range []uint64{890_880, w.mintRent, 3 * w.mintRent} {
		name := fmt.Sprint("pay-", i)
		w.fund(w.laneAt(name), lamports)
		w.refresh()
		w.must(w.opening(name, chain.Missing(w.mintRent, lamports)), w.operator, w.lane)
		if got, want := w.state(name), w.secret.Public(w.first(name).c); got != want {
			t.Errorf("%s shows %s, want %s", name, got, want)
		}
	}
}

// A claim creates the wallet's account, is paid for by the wallet, and both
// sign.
func TestClaim(t *testing.T) {
	w := newWorld(t, "epoch", "claim-0")
	if err := w.pass(w.epochAt(1, 1_000_000)); err != nil {
		t.Fatal(err)
	}
	wallet := newKey(t)
	w.fund(chain.PublicOf(wallet), 1e9)
	w.refresh()
	p := chain.Plan{Kind: chain.KindClaim, FeePayer: chain.PublicOf(wallet), Blockhash: w.hash.Hash,
		Memo: fmt.Sprintf("io1 claim wallet=%s sum=500", chain.PublicOf(wallet)), Mint: w.mint, Decimals: 8,
		Owners: map[ionet.Key]ionet.Key{w.reward: w.op()}, CreateDestinationFor: chain.PublicOf(wallet),
		Movements: []chain.Movement{{Op: chain.Transfer, Source: w.reward, Destination: chain.TokenAccount(chain.PublicOf(wallet), w.mint), Amount: ionet.MustAmount(500)}}}
	p.Budget = p.DefaultBudget()
	at := w.first("claim-0")
	w.step(&p, at)
	// As it goes: prepared unsigned, signed by the wallet, then by us.
	tx, missing, err := chain.SignMessage(w.build(p.Message()))
	if err != nil || len(missing) != 3 {
		t.Fatalf("unsigned: %v, missing %v", err, missing)
	}
	if tx, err = chain.CoSign(tx, wallet); err != nil {
		t.Fatal(err)
	}
	if d, err := chain.Decode(tx); err != nil || d.VerifySignatures() == nil {
		t.Fatalf("decode half signed: %v", err)
	}
	if tx, err = chain.CoSign(tx, w.operator, w.secret.Key(at.c)); err != nil {
		t.Fatal(err)
	}
	if err := w.sendTx(tx); err != nil {
		t.Fatal(err)
	}
	if got := w.balance(p.Movements[0].Destination); got != 500 {
		t.Errorf("wallet has %d, want 500", got)
	}
}

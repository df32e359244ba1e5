package signer

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/genesis"
)

// world is a network with all its keys, and a policy for it.
type world struct {
	*genesis.Prepared
	policy Policy
	now    time.Time
}

// prepared is shared: nothing changes it, and to hash a schedule takes time.
var prepared = sync.OnceValues(func() (*genesis.Prepared, error) {
	schedule, err := emissions.Hourly(8)
	if err == nil {
		schedule, err = schedule.Shorten(1000)
	}
	if err != nil {
		return nil, err
	}
	dir, err := tempDir()
	if err != nil {
		return nil, err
	}
	return genesis.Prepare(background, genesis.Config{
		Dir: dir, Name: "signed", Cluster: ionet.Key{1}, Start: time.Unix(1_800_000_000, 0), Schedule: schedule,
		EpochSeconds: 3600, Samples: 60, PayLanes: 2, ClaimLanes: 2,
		Beneficiaries: map[string][]ionet.Beneficiary{unlocking: {{Wallet: payee(70), Parts: 1}, {Wallet: payee(71), Parts: 2}}},
	})
})

func newWorld(t testing.TB) *world {
	t.Helper()
	p, err := prepared()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Prepared: p, now: time.Unix(1_800_000_000+3600*10, 0)}
	schedule, err := emissions.New(emissions.ParamsOf(p.Network.Schedule))
	if err != nil {
		t.Fatal(err)
	}
	w.policy = Policy{
		Network: p.Network, Schedule: schedule, Window: time.Hour, MaxPriority: 100_000, MaxUnits: 400_000, MaxLamports: 100_000_000,
		Limits: map[chain.Kind]ionet.Amount{
			chain.KindPayout: ionet.MustAmount(10_000), chain.KindClaim: ionet.MustAmount(5_000),
			chain.KindWithdrawal: ionet.MustAmount(3_000), chain.KindUnlock: ionet.MustAmount(2_000),
			chain.KindFees: ionet.MustAmount(4_000),
		},
	}
	return w
}

// ring holds all keys that a full signer has, the one that opens lanes too.
func (w *world) ring() *Ring {
	keys := []ed25519.PrivateKey{w.Keys.Operator, w.Keys.Fees, w.Keys.Lane}
	for _, k := range w.Keys.Allocation {
		keys = append(keys, k)
	}
	return NewRing(&w.Keys.Secret, keys...)
}

func (w *world) view() view {
	ring := w.ring()
	return view{now: w.now, lane: w.Keys.Secret.Public, ours: func(k ionet.Key) bool { _, ok := ring.money[k]; return ok }}
}

// server opens a server on the journal at path, in the world's time.
func (w *world) server(t testing.TB, path string, change ...func(*ServerConfig)) *Server {
	t.Helper()
	s, err := w.open(path, change...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func (w *world) open(path string, change ...func(*ServerConfig)) (*Server, error) {
	c := ServerConfig{Ring: w.ring(), Policy: w.policy, Journal: path, Now: func() time.Time { return w.now }}
	for _, f := range change {
		f(&c)
	}
	return NewServer(c)
}

func journalPath(t testing.TB) string { return filepath.Join(t.TempDir(), "signer.journal") }

// seat is the open position of a lane.
type seat struct {
	Position
	name string
}

func (w *world) first(name string) seat {
	address, ok := w.Network.Lane(name)
	if !ok {
		panic("no lane " + name)
	}
	return seat{Position{Lane: address, C: chain.FirstC(address)}, name}
}

// at is position n of a lane whose history nobody asks for.
func (w *world) at(name string, n uint64) seat {
	s := w.first(name)
	s.N, s.C = n, ionet.HashOf([]byte(name), fmt.Append(nil, n))
	return s
}

// next is where the lane is once the content of p has won.
func (s seat) next(t testing.TB, p chain.Plan) seat {
	t.Helper()
	c, err := p.Content(s.Lane, s.N, s.C)
	if err != nil {
		t.Fatal(err)
	}
	return seat{Position{Lane: s.Lane, N: s.N + 1, C: c.Next()}, s.name}
}

// finish gives a plan its steps and budget.
func (w *world) finish(p chain.Plan, seats ...seat) chain.Plan {
	for _, s := range seats {
		c := chain.Content{Kind: p.Kind, Lane: s.Lane, N: s.N, C: s.C, Movements: p.Movements, Memo: p.Memo}
		p.Steps = append(p.Steps, chain.Step{Lane: s.Lane, From: w.Keys.Secret.Public(s.C), To: w.Keys.Secret.Public(c.Next())})
	}
	p.Blockhash = ionet.Key(sha256.Sum256([]byte("blockhash")))
	p.Budget = p.DefaultBudget()
	return p
}

// plan is one of a kind from a vault, paid by the operator.
func (w *world) plan(kind chain.Kind, source, owner ionet.Key, memo proofs.Memo, moves ...chain.Movement) chain.Plan {
	p := chain.Plan{Kind: kind, Version: 1, FeePayer: w.Network.Keys.Operator, Movements: moves, Memo: memo.String()}
	if len(moves) > 0 {
		p.Mint, p.Decimals, p.Owners = w.Network.Mint, uint8(w.Network.Decimals), map[ionet.Key]ionet.Key{source: owner}
	}
	return p
}

func payee(i int) ionet.Key {
	return chain.PublicOf(ed25519.NewKeyFromSeed(hashed("payee", i)))
}

func hashed(name string, i int) []byte {
	h := ionet.HashOf([]byte(name), fmt.Append(nil, i))
	return h[:]
}

// pays makes transfers of these amounts.
func (w *world) pays(source ionet.Key, amounts ...uint64) (moves []chain.Movement, sum ionet.Amount) {
	for i, a := range amounts {
		m := chain.Movement{Op: chain.Transfer, Source: source, Destination: chain.TokenAccount(payee(i), w.Network.Mint), Amount: ionet.MustAmount(a)}
		moves = append(moves, m)
		sum, _ = sum.Add(m.Amount)
	}
	return moves, sum
}

func (w *world) payout(s seat, amounts ...uint64) chain.Plan {
	n := w.Network
	moves, sum := w.pays(n.Vaults.Reward, amounts...)
	memo := proofs.PayoutMemo{Batch: [16]byte(hashed("batch", len(amounts))), Count: uint64(len(moves)), Sum: sum}
	return w.finish(w.plan(chain.KindPayout, n.Vaults.Reward, n.Keys.Operator, memo, moves...), s)
}

func (w *world) fees(s seat, amounts ...uint64) chain.Plan {
	n := w.Network
	moves, sum := w.pays(n.Vaults.Fee, amounts...)
	memo := proofs.FeesMemo{Batch: [16]byte(hashed("batch", len(amounts))), Count: uint64(len(moves)), Sum: sum}
	return w.finish(w.plan(chain.KindFees, n.Vaults.Fee, n.Keys.Fees, memo, moves...), s)
}

// receipts carries leaves of the log from that index on.
func (w *world) receipts(s seat, first, count uint64) chain.Plan {
	return w.renamed(s, proofs.ReceiptsMemo{First: first, Count: count, Data: w.leaves(first, count)})
}

// renamed is receipts of that memo.
func (w *world) renamed(s seat, m proofs.ReceiptsMemo) chain.Plan {
	return w.finish(w.plan(chain.KindReceipts, ionet.Key{}, ionet.Key{}, m), s)
}

func (w *world) leaves(first, count uint64) (data []byte) {
	for i := range count {
		data = proofs.Compact{Index: first + i, ID: ionet.HashOf([]byte("leaf"))}.Append(data)
	}
	return data
}

func (w *world) withdrawal(s seat, amount uint64) chain.Plan {
	n := w.Network
	moves, sum := w.pays(n.Vaults.Fee, amount)
	memo := proofs.WithdrawalMemo{ID: [16]byte{7}, Sum: sum}
	return w.finish(w.plan(chain.KindWithdrawal, n.Vaults.Fee, n.Keys.Fees, memo, moves...), s)
}

// unlocking is the category that has beneficiaries, free from genesis on.
const unlocking = "community"

func (w *world) unlock(s seat, amount uint64) chain.Plan {
	i := slices.IndexFunc(w.Network.Allocation, func(a ionet.Allocation) bool { return a.Category == unlocking })
	a := w.Network.Allocation[i]
	sum := ionet.MustAmount(amount)
	shares, err := emissions.Divide(sum, a.Beneficiaries)
	if err != nil {
		panic(err)
	}
	p := w.plan(chain.KindUnlock, a.Account, a.Owner, proofs.UnlockMemo{Category: a.Category, Sum: sum})
	for i, share := range shares {
		wallet := a.Beneficiaries[i].Wallet
		p.Wallets = append(p.Wallets, wallet)
		p.Movements = append(p.Movements, chain.Movement{Op: chain.Transfer, Source: a.Account, Destination: chain.TokenAccount(wallet, w.Network.Mint), Amount: share})
	}
	p.Mint, p.Decimals, p.Owners = w.Network.Mint, uint8(w.Network.Decimals), map[ionet.Key]ionet.Key{a.Account: a.Owner}
	return w.finish(p, s)
}

// retire gives the mint up after the last epoch.
func (w *world) retire(s seat) chain.Plan {
	n := w.Network
	p := w.plan(chain.KindRetire, n.Mint, n.Keys.Operator, proofs.RetireMemo{Epoch: n.Schedule.Epochs, Supply: n.Schedule.Cap})
	p.Mint, p.Owners = n.Mint, map[ionet.Key]ionet.Key{n.Mint: n.Keys.Operator}
	return w.finish(p, s)
}

// epoch seals one that follows what this signer never signed.
func (w *world) epoch(s seat, amount uint64) chain.Plan { return w.epochAfter(s, amount, "unknown") }

// epochAfter seals one that follows the epoch of that memo.
func (w *world) epochAfter(s seat, amount uint64, former string) chain.Plan {
	n := w.Network
	memo := proofs.EpochMemo{Epoch: s.N, Sum: ionet.MustAmount(amount), Policy: n.Policy, Verdicts: proofs.VerdictsRoot(nil), Prev: ionet.HashOf([]byte(former))}
	var moves []chain.Movement
	if amount > 0 {
		memo.Count, memo.Verdicts = 1, ionet.HashOf([]byte("verdicts"))
		moves = append(moves, chain.Movement{Op: chain.Mint, Source: n.Mint, Destination: n.Vaults.Reward, Amount: ionet.MustAmount(amount)})
	}
	return w.finish(w.plan(chain.KindEpoch, n.Mint, n.Keys.Operator, memo, moves...), s)
}

func (w *world) skip(seats ...seat) chain.Plan {
	return w.finish(w.plan(chain.KindSkip, ionet.Key{}, ionet.Key{}, proofs.SkipMemo{Instance: [16]byte{1}}), seats...)
}

func (w *world) fence(seats ...seat) chain.Plan {
	return w.finish(w.plan(chain.KindFence, ionet.Key{}, ionet.Key{}, proofs.FenceMemo{Instance: [16]byte{2}}), seats...)
}

func (w *world) seal(s seat) chain.Plan {
	return w.finish(w.plan(chain.KindSeal, ionet.Key{}, ionet.Key{}, proofs.SealMemo{Size: 1}), s)
}

func (w *world) claim(s seat, wallet ionet.Key, amount uint64) chain.Plan {
	n := w.Network
	a := ionet.MustAmount(amount)
	move := chain.Movement{Op: chain.Transfer, Source: n.Vaults.Reward, Destination: chain.TokenAccount(wallet, n.Mint), Amount: a}
	p := w.plan(chain.KindClaim, n.Vaults.Reward, n.Keys.Operator, proofs.ClaimMemo{Wallet: wallet, Sum: a}, move)
	p.Version, p.FeePayer, p.CreateDestinationFor = 0, wallet, wallet
	return w.finish(p, s)
}

// ask makes the request for a plan whose lanes are at those seats.
func ask(t testing.TB, p chain.Plan, seats ...seat) Request {
	t.Helper()
	message, err := p.Message()
	if err != nil {
		t.Fatal(err)
	}
	r := Request{Message: message}
	for _, s := range seats {
		r.Lanes = append(r.Lanes, s.Position)
	}
	return r
}

// sign asks s once, and wants an answer.
func sign(t testing.TB, s Signer, list ...Request) []Signed {
	t.Helper()
	answers, err := s.Sign(t.Context(), list)
	if err != nil {
		t.Fatal(err)
	}
	return answers
}

// mustSign wants signatures that make r a whole transaction, but for those of others.
func mustSign(t testing.TB, s Signer, r Request, others ...ionet.Key) {
	t.Helper()
	a := sign(t, s, r)[0]
	if a.Refused != nil {
		t.Fatalf("refused: %v", a.Refused)
	}
	tx, missing, err := chain.SignMessage(r.Message)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(a.Signatures), len(missing)-len(others); got != want {
		t.Fatalf("%d signatures, want %d", got, want)
	}
	for key, signature := range a.Signatures {
		if tx, err = chain.AddSignature(tx, key, signature); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := chain.Decode(tx); err != nil && len(r.Lanes) > 0 {
		t.Fatal(err)
	}
}

// mustRefuse wants a refusal by that rule, and no signature.
func mustRefuse(t testing.TB, s Signer, rule string, r Request) {
	t.Helper()
	a := sign(t, s, r)[0]
	if a.Refused == nil {
		t.Fatalf("signed, want a refusal by rule %s", rule)
	}
	if a.Refused.Rule != rule || len(a.Signatures) != 0 {
		t.Fatalf("refused by %v with %d signatures, want rule %s and none", a.Refused, len(a.Signatures), rule)
	}
}

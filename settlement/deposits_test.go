package settlement

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs/audit"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// renter is a wallet with tokens of its own, from a claim by a provider.
func (m *machine) funded() *host {
	m.t.Helper()
	m.fenceUp()
	m.seal(m.alice)
	m.claimAll(m.alice)
	if m.onChain(m.alice.payout) == 0 {
		m.t.Fatal("the wallet has no tokens")
	}
	return m.alice
}

// deposit is one part of a transaction that pays in.
type transfer struct {
	to         ionet.Key // token account
	amount     uint64
	references []ionet.Key
}

// in returns the TransferChecked of wallet's own tokens.
func (m *machine) in(wallet ionet.Key, tr transfer) solana.Instruction {
	n := m.net.Network
	metas := []*solana.AccountMeta{
		solana.NewAccountMeta(solana.PublicKey(chain.TokenAccount(wallet, n.Mint)), true, false),
		solana.NewAccountMeta(solana.PublicKey(n.Mint), false, false),
		solana.NewAccountMeta(solana.PublicKey(tr.to), true, false),
		solana.NewAccountMeta(solana.PublicKey(wallet), false, true),
	}
	for _, r := range tr.references {
		metas = append(metas, solana.NewAccountMeta(solana.PublicKey(r), false, false))
	}
	data := append(binary.LittleEndian.AppendUint64([]byte{12}, tr.amount), byte(n.Decimals))
	return solana.NewInstruction(solana.PublicKey(chain.TokenProgram()), metas, data)
}

// batch puts instructions of the token program into one of p-token.
func batch(list ...solana.Instruction) solana.Instruction {
	data := []byte{255}
	var metas []*solana.AccountMeta
	for _, in := range list {
		part, _ := in.Data()
		data = append(append(data, byte(len(in.Accounts())), byte(len(part))), part...)
		metas = append(metas, in.Accounts()...)
	}
	return solana.NewInstruction(solana.PublicKey(chain.TokenProgram()), metas, data)
}

// memo is a memo of somebody.
func memo(text string) solana.Instruction {
	return solana.NewInstruction(solana.PublicKey(chain.MemoProgram()), nil, []byte(text))
}

// lands sends one transaction of a wallet and waits until it is final. It fails the
// test where that fails, unless it is to fail.
func (m *machine) lands(key ed25519.PrivateKey, fails bool, list ...solana.Instruction) chain.Signature {
	m.t.Helper()
	return m.landsBy([]ed25519.PrivateKey{key}, fails, list...)
}

// landsBy is lands with several signers; the first pays.
func (m *machine) landsBy(keys []ed25519.PrivateKey, fails bool, list ...solana.Instruction) chain.Signature {
	m.t.Helper()
	hash, err := m.clean.LatestBlockhash(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	tx, err := solana.NewTransaction(list, solana.Hash(hash.Hash), solana.TransactionPayer(solana.PublicKey(chain.PublicOf(keys[0]))))
	if err != nil {
		m.t.Fatal(err)
	}
	tx.Message.SetVersion(solana.MessageVersionV0)
	message, err := tx.Message.MarshalBinary()
	if err != nil {
		m.t.Fatal(err)
	}
	signed, missing, err := chain.SignMessage(message, keys...)
	if err != nil || len(missing) > 0 {
		m.t.Fatalf("sign: %v, missing %v", err, missing)
	}
	if err := m.clean.Resend(m.t.Context(), signed, 0); err != nil {
		m.t.Fatal(err)
	}
	raw, err := chain.ParseRaw(signed, nil, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	m.advance(40)
	t, err := m.clean.Transaction(m.t.Context(), raw.Signature())
	if err != nil {
		m.t.Fatal(err)
	}
	if (t.Err != nil) != fails {
		m.t.Fatalf("transaction %s: %v", raw.Signature(), t.Err)
	}
	return raw.Signature()
}

func (m *machine) request(wallet ionet.Key) DepositRequest {
	m.t.Helper()
	r, err := m.RequestDeposit(m.t.Context(), wallet)
	if err != nil {
		m.t.Fatal(err)
	}
	return r
}

func (m *machine) renter(wallet ionet.Key) uint64 { return m.balance(ledger.Renter(wallet)) }

// checkVaults compares both vaults with the ledger.
func (m *machine) checkVaults() {
	m.t.Helper()
	for _, v := range m.vaults() {
		held, _, err := m.clean.TokenBalance(m.t.Context(), v.address, m.net.Network.Mint, rpc.Finalized, 0)
		if err != nil {
			m.t.Fatal(err)
		}
		if got := m.balance(v.account); got != held.Base() {
			m.t.Errorf("ledger says that the %s holds %d, it holds %d", v.name, got, held.Base())
		}
	}
	if err := ledger.TrialBalance(m.t.Context(), m.pool); err != nil {
		m.t.Error(err)
	}
}

func TestDeposits(t *testing.T) {
	m := newMachine(t)
	a := m.funded()
	key, fee, reward := m.wallet[a.payout], m.net.Network.Vaults.Fee, m.net.Network.Vaults.Reward
	first, second := keyOf("renter one"), keyOf("renter two")
	one, two := chain.PublicOf(first), chain.PublicOf(second)
	r1, r2 := m.request(one), m.request(two)
	if again := m.request(one); again.Reference != r1.Reference {
		t.Errorf("a wallet that paid nothing got a second reference")
	}
	unknown := ionet.Key{5, 5, 5}
	for _, c := range []struct {
		name          string
		list          []solana.Instruction
		fails         bool
		one, two, sus uint64 // what it adds to
	}{
		{"by reference", []solana.Instruction{m.in(a.payout, transfer{fee, 100, []ionet.Key{r1.Reference}})}, false, 100, 0, 0},
		{"with memos and a foreign one", []solana.Instruction{memo("for rent"), m.in(a.payout, transfer{fee, 7, []ionet.Key{r1.Reference}}), memo("io1 payout")}, false, 7, 0, 0},
		{"no reference", []solana.Instruction{m.in(a.payout, transfer{fee, 20, nil})}, false, 0, 0, 20},
		{"an unknown reference", []solana.Instruction{m.in(a.payout, transfer{fee, 21, []ionet.Key{unknown}})}, false, 0, 0, 21},
		{"a known and an unknown reference", []solana.Instruction{m.in(a.payout, transfer{fee, 22, []ionet.Key{unknown, r2.Reference}})}, false, 0, 22, 0},
		{"two references", []solana.Instruction{m.in(a.payout, transfer{fee, 23, []ionet.Key{r1.Reference, r2.Reference}})}, false, 0, 0, 23},
		{"one reference twice", []solana.Instruction{m.in(a.payout, transfer{fee, 24, []ionet.Key{r1.Reference, r1.Reference}})}, false, 24, 0, 0},
		{"two transfers of two renters", []solana.Instruction{m.in(a.payout, transfer{fee, 30, []ionet.Key{r1.Reference}}), m.in(a.payout, transfer{fee, 31, []ionet.Key{r2.Reference}})}, false, 30, 31, 0},
		{"one with and one without", []solana.Instruction{m.in(a.payout, transfer{fee, 32, []ionet.Key{r1.Reference}}), m.in(a.payout, transfer{fee, 33, nil})}, false, 32, 0, 33},
		{"a batch of two", []solana.Instruction{batch(m.in(a.payout, transfer{fee, 40, []ionet.Key{r1.Reference}}), m.in(a.payout, transfer{fee, 41, []ionet.Key{r2.Reference}}))}, false, 40, 41, 0},
		{"a batch of two equal ones", []solana.Instruction{batch(m.in(a.payout, transfer{fee, 42, []ionet.Key{r1.Reference}}), m.in(a.payout, transfer{fee, 42, []ionet.Key{r1.Reference}}))}, false, 84, 0, 0},
		{"the reference elsewhere in the transaction", []solana.Instruction{
			m.in(a.payout, transfer{fee, 43, nil}), m.in(a.payout, transfer{chain.TokenAccount(a.payout, m.net.Network.Mint), 1, []ionet.Key{r2.Reference}}),
		}, false, 0, 43, 0},
		{"to the reward vault", []solana.Instruction{m.in(a.payout, transfer{reward, 50, []ionet.Key{r1.Reference}})}, false, 0, 0, 50},
		{"a reference to one vault, none to the other", []solana.Instruction{
			m.in(a.payout, transfer{reward, 5, []ionet.Key{r1.Reference}}), m.in(a.payout, transfer{fee, 44, nil}),
		}, false, 44, 0, 5},
		{"one reference to each vault", []solana.Instruction{
			m.in(a.payout, transfer{reward, 6, []ionet.Key{r1.Reference}}), m.in(a.payout, transfer{fee, 45, []ionet.Key{r2.Reference}}),
		}, false, 0, 45, 6},
		{"both for the reward vault, none for the other", []solana.Instruction{
			m.in(a.payout, transfer{reward, 8, []ionet.Key{r1.Reference, r2.Reference}}), m.in(a.payout, transfer{fee, 46, nil}),
		}, false, 0, 0, 54},
		{"nothing", []solana.Instruction{m.in(a.payout, transfer{fee, 0, []ionet.Key{r1.Reference}})}, false, 0, 0, 0},
		{"one that fails", []solana.Instruction{m.in(a.payout, transfer{fee, 60, []ionet.Key{r1.Reference}}), m.in(a.payout, transfer{fee, 1 << 62, nil})}, true, 0, 0, 0},
	} {
		b1, b2, bs := m.renter(one), m.renter(two), m.balance(ledger.Suspense())
		m.lands(key, c.fails, c.list...)
		m.pass()
		if g1, g2, gs := m.renter(one)-b1, m.renter(two)-b2, m.balance(ledger.Suspense())-bs; g1 != c.one || g2 != c.two || gs != c.sus {
			t.Errorf("%s: credited %d, %d and %d to suspense, want %d, %d, %d", c.name, g1, g2, gs, c.one, c.two, c.sus)
		}
	}
	m.checkVaults()
	if !m.view.isReady() {
		t.Error("deposits stopped the service")
	}
	o, err := m.Overview(t.Context())
	if err != nil || o.RewardSuspense.IsZero() || o.Vault.Base() != o.Owed.Base()+o.InFlight.Base()+o.RewardSuspense.Base() ||
		o.FeeVault.Base() != o.Renters.Base()+o.Withdrawing.Base()+o.FeeSuspense.Base() {
		t.Errorf("the vaults' parts do not add up: %+v, %v", o, err)
	}
	m.auditsAlike(one, two)
	m.checkFoundAgain(one, two)
}

// auditsAlike: who has only the chain and the published files comes to the same sums as
// the books.
func (m *machine) auditsAlike(wallets ...ionet.Key) {
	m.t.Helper()
	r, err := audit.Run(m.t.Context(), audit.Config{Chain: m.clean, Store: m.store, Mint: m.net.Network.Mint})
	if err != nil {
		m.t.Fatal(err)
	}
	var sum uint64
	for _, w := range wallets {
		sum += m.renter(w)
	}
	if suspense := m.balance(ledger.Suspense()); r.Status() == 1 || r.Deposited.Base() != sum || r.Suspense.Base() != suspense {
		m.t.Errorf("the books say %d of renters, %d in suspense; the audit %s and %s, findings %v", sum, suspense, r.Deposited, r.Suspense, r.Findings)
	}
}

// checkFoundAgain lets a service on an empty database find all deposits, once.
func (m *machine) checkFoundAgain(wallets ...ionet.Key) {
	m.t.Helper()
	before := fmt.Sprint(m.balances(wallets), m.count(`SELECT count(*) FROM deposits`))
	m.onDatabase(pgtest.NewURL(m.t))
	m.fenceUp()
	m.until("all deposits are found", func() bool {
		return fmt.Sprint(m.balances(wallets), m.count(`SELECT count(*) FROM deposits`)) == before
	})
	for range 5 { // a new walk every ten seconds
		m.goTo(handTime.Load() + 11)
		m.pass()
	}
	if after := fmt.Sprint(m.balances(wallets), m.count(`SELECT count(*) FROM deposits`)); after != before {
		m.t.Errorf("an empty database finds %s, the former one had %s", after, before)
	}
	m.checkVaults()
}

func (m *machine) balances(wallets []ionet.Key) []uint64 {
	list := []uint64{m.balance(ledger.Suspense()), m.balance(ledger.VaultFee()), m.balance(ledger.VaultReward())}
	for _, w := range wallets {
		list = append(list, m.renter(w))
	}
	return list
}

// What a payout or claim moves is no deposit, and a wallet of the network's own is not paid.
func TestPayoutIsNoDeposit(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	m.claimAll(m.alice)
	m.payAll()
	for range 3 {
		m.goTo(handTime.Load() + 11)
		m.pass()
	}
	if n := m.count(`SELECT count(*) FROM deposits`); n != 0 {
		t.Errorf("%d deposits", n)
	}
	m.checkBooks()
	m.checkVaults()
}

// A stranger's thousands of deposits hold up no pass, and the one in their midst is found.
func TestDepositsBeyondOnePass(t *testing.T) {
	m := newMachine(t)
	a := m.funded()
	wallet := chain.PublicOf(keyOf("renter"))
	r := m.request(wallet)
	fee := m.net.Network.Vaults.Fee
	dust := make([]solana.Instruction, 0, scanReads*3)
	for i := range scanReads*2 + 10 {
		var references []ionet.Key
		if i == 5 {
			references = []ionet.Key{r.Reference}
		}
		dust = append(dust, m.in(a.payout, transfer{fee, uint64(1 + i), references}))
	}
	for _, in := range dust {
		m.sendOnly(m.wallet[a.payout], in)
	}
	m.advance(40)
	m.pass()
	if n := m.count(`SELECT count(*) FROM deposits`); n == 0 || n > scanReads {
		t.Errorf("the first pass booked %d credits, want 1..%d", n, scanReads)
	}
	h, err := m.Health(t.Context())
	if err != nil || !h.Ready || h.Halted != "" {
		t.Errorf("health is %+v, %v, want ready", h, err)
	}
	if !slices.ContainsFunc(h.Standings, func(st Standing) bool { return st.Account == fee && st.Note != "" }) {
		t.Errorf("standings %+v do not tell that the fee vault is behind", h.Standings)
	}
	m.until("all are booked", func() bool { return m.renter(wallet) == 6 && m.count(`SELECT count(*) FROM deposits`) == len(dust) })
	m.pass()
	m.checkVaults()
	if h, err = m.Health(t.Context()); err != nil || len(h.Standings) != 0 {
		t.Errorf("standings are %+v, %v, want none", h.Standings, err)
	}
}

// sendOnly sends a transaction and does not wait for it.
func (m *machine) sendOnly(key ed25519.PrivateKey, in solana.Instruction) {
	m.t.Helper()
	hash, err := m.clean.LatestBlockhash(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	tx, err := solana.NewTransaction([]solana.Instruction{in}, solana.Hash(hash.Hash), solana.TransactionPayer(solana.PublicKey(chain.PublicOf(key))))
	if err != nil {
		m.t.Fatal(err)
	}
	tx.Message.SetVersion(solana.MessageVersionV0)
	message, err := tx.Message.MarshalBinary()
	if err != nil {
		m.t.Fatal(err)
	}
	signed, _, err := chain.SignMessage(message, key)
	if err != nil {
		m.t.Fatal(err)
	}
	if err := m.clean.Send(m.t.Context(), signed, rpc.SendOptions{}); err != nil {
		m.t.Fatal(err)
	}
}

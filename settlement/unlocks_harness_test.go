package settlement

import (
	"crypto/ed25519"
	"testing"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/settlement/genesis"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// shortEpochs is how many epochs the schedule of a network with unlocks has: after
// them months may pass without an epoch to close.
const shortEpochs = 4

func wallet(name string) ionet.Key { return chain.PublicOf(keyOf("beneficiary " + name)) }

// newUnlocking makes a network of four epochs whose seed is for three and unlocks month
// by month, and whose community is free for one.
func newUnlocking(t testing.TB) *machine {
	t.Helper()
	return newUnlockingWith(t, func(*genesis.Config) {})
}

// newUnlockingWith is newUnlocking with a configuration that is changed more, and a
// service that holds the keys of these members of its multisigs.
func newUnlockingWith(t testing.TB, change func(*genesis.Config), members ...ed25519.PrivateKey) *machine {
	t.Helper()
	return newMachineWith(t, testPolicy, func(c *genesis.Config) {
		change(c)
		var err error
		if c.Schedule, err = c.Schedule.Shorten(shortEpochs); err != nil {
			t.Fatal(err)
		}
		c.Unlocks = map[string]emissions.Unlock{"seed": {Kind: emissions.UnlockLinear, To: 400}}
		c.Beneficiaries = map[string][]ionet.Beneficiary{
			"seed":      {{Wallet: wallet("a"), Parts: 1}, {Wallet: wallet("b"), Parts: 2}, {Wallet: wallet("c"), Parts: 4}},
			"community": {{Wallet: wallet("d"), Parts: 1}},
		}
	}, members...)
}

// lastSealed seals all epochs and waits for the retire.
func (m *machine) lastSealed() {
	m.t.Helper()
	for m.position(epochLane) <= shortEpochs {
		m.seal(m.alice, m.bob)
	}
	m.until("the mint is retired", func() bool { return m.position(epochLane) > shortEpochs+1 })
}

// monthOver moves all clocks to the end of a month.
func (m *machine) monthOver(month uint64) {
	m.t.Helper()
	handTime.Store(max(handTime.Load(), m.clock.EpochEnd(month*emissions.EpochsPerMonth)))
	m.advance(40) // so that a block of that time is final
	m.pass()      // the lease has run out meanwhile
}

// releaseAll asks for releases and makes passes until they are over; it stops where
// the process dies.
func (m *machine) releaseAll(category string) {
	m.t.Helper()
	if !m.mayFail("ask for a release", func() error {
		_, err := m.RequestRelease(m.t.Context(), category)
		return err
	}) {
		return
	}
	m.until("what is due is released", func() bool {
		return m.wires.isCut() || m.count(`SELECT count(*) FROM unlock_requests WHERE done_at IS NULL`) == 0
	})
}

func (m *machine) unlock(category string) Unlock {
	m.t.Helper()
	list, err := m.Unlocks(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	for _, u := range list {
		if u.Category == category {
			return u
		}
	}
	m.t.Fatalf("no category %s", category)
	return Unlock{}
}

// checkReleased holds books and chain against each other, and what each beneficiary
// has against the sum of all releases, each divided by itself.
func (m *machine) checkReleased(category string, sums ...uint64) {
	m.t.Helper()
	a, ok := m.net.Network.AllocationOf(category)
	if !ok {
		m.t.Fatalf("no category %s", category)
	}
	want, total := map[ionet.Key]uint64{}, uint64(0)
	for _, sum := range sums {
		shares, err := emissions.Divide(ionet.MustAmount(sum), a.Beneficiaries)
		if err != nil {
			m.t.Fatal(err)
		}
		for i, b := range a.Beneficiaries {
			want[b.Wallet] += shares[i].Base()
		}
		total += sum
	}
	for _, b := range a.Beneficiaries {
		if got := m.onChain(b.Wallet); got != want[b.Wallet] {
			m.t.Errorf("beneficiary %s has %d, want %d", b.Wallet, got, want[b.Wallet])
		}
	}
	held := m.onChain(a.Owner)
	if rest := a.Amount.Base() - total; held != rest || m.balance(ledger.VaultAllocation(category)) != rest || m.balance(ledger.Locked(category)) != rest {
		m.t.Errorf("%s holds %d, by the books %d of which %d are locked, want %d", category, held, m.balance(ledger.VaultAllocation(category)), m.balance(ledger.Locked(category)), rest)
	}
	if u := m.unlock(category); u.Released.Base() != total || !u.InFlight.IsZero() {
		m.t.Errorf("%s: %s are released and %s on their way, want %d and none", category, u.Released, u.InFlight, total)
	}
}

// byMonth is what of seed is unlocked by the end of a month.
func (m *machine) byMonth(month uint64) uint64 {
	m.t.Helper()
	a, _ := m.net.Network.AllocationOf("seed")
	u, err := emissions.ParseUnlock(a.Unlock)
	if err != nil {
		m.t.Fatal(err)
	}
	return u.ByMonth(a.Amount, month).Base()
}

// own gives a beneficiary lamports and opens his token account.
func (m *machine) own(name string) {
	m.t.Helper()
	if _, err := m.node.Airdrop(solana.PublicKey(wallet(name)), 1_000_000_000); err != nil {
		m.t.Fatal(err)
	}
	m.advance(2)
	hash, err := m.clean.LatestBlockhash(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	message, err := chain.AccountCreation{
		FeePayer: wallet(name), Mint: m.net.Network.Mint, Owners: []ionet.Key{wallet(name)}, Blockhash: hash.Hash,
		Budget: chain.Budget{ComputeUnits: 200_000, LoadedBytes: 2 << 20},
	}.Message()
	if err != nil {
		m.t.Fatal(err)
	}
	m.land(message, keyOf("beneficiary "+name))
}

// handAccount gives the token account of a beneficiary, which from owns now, to to.
// The beneficiary pays.
func (m *machine) handAccount(name string, from ionet.Key, to ed25519.PrivateKey) {
	m.t.Helper()
	owner, next := keyOf("beneficiary "+name), chain.PublicOf(to)
	if from != wallet(name) {
		owner = keyOf("beneficiary thief")
	}
	in := solana.NewInstruction(solana.PublicKey(chain.TokenProgram()), []*solana.AccountMeta{
		solana.NewAccountMeta(solana.PublicKey(chain.TokenAccount(wallet(name), m.net.Network.Mint)), true, false),
		solana.NewAccountMeta(solana.PublicKey(from), false, true),
	}, append([]byte{6, 2, 1}, next[:]...))
	hash, err := m.clean.LatestBlockhash(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	tx, err := solana.NewTransaction([]solana.Instruction{in}, solana.Hash(hash.Hash), solana.TransactionPayer(solana.PublicKey(wallet(name))))
	if err != nil {
		m.t.Fatal(err)
	}
	tx.Message.SetVersion(solana.MessageVersionV0)
	message, err := tx.Message.MarshalBinary()
	if err != nil {
		m.t.Fatal(err)
	}
	keys := []ed25519.PrivateKey{keyOf("beneficiary " + name)}
	if from != wallet(name) {
		keys = append(keys, owner)
	}
	m.land(message, keys...)
}

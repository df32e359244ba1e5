package chain

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	"github.com/ionet-settlement/ionet"
)

// seeded returns a key that depends on name alone, so vectors are stable.
func seeded(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("test key " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func publicKey(name string) ionet.Key { return PublicOf(seeded(name)) }

func testSecret() Secret { return Secret(sha256.Sum256([]byte("test lane secret"))) }

func testBlockhash() ionet.Key { return ionet.Key(sha256.Sum256([]byte("test blockhash"))) }

// fixture is one network's worth of keys.
type fixture struct {
	operator, fees, lane ed25519.PrivateKey
	secret               Secret
	mint, reward         ionet.Key
}

func newFixture() fixture {
	f := fixture{operator: seeded("operator"), fees: seeded("fees"), lane: seeded("lane"), secret: testSecret()}
	f.mint = MintAddress(PublicOf(f.operator), f.laneAt("epoch"))
	f.reward = TokenAccount(PublicOf(f.operator), f.mint)
	return f
}

func (f fixture) laneAt(name string) ionet.Key { return LaneAddress(PublicOf(f.lane), name) }

// position is a place on a lane, with what is needed to pass it.
type position struct {
	lane ionet.Key
	n    uint64
	c    ionet.Hash
}

func (f fixture) first(name string) position {
	l := f.laneAt(name)
	return position{lane: l, c: FirstC(l)}
}

// step completes the plan's step of that position, which needs the content.
func (f fixture) step(t testing.TB, p *Plan, at position) position {
	t.Helper()
	p.Steps = append(p.Steps, Step{Lane: at.lane})
	c, err := p.Content(at.lane, at.n, at.c)
	if err != nil {
		t.Fatal(err)
	}
	next := position{at.lane, at.n + 1, c.Next()}
	p.Steps[len(p.Steps)-1] = Step{Lane: at.lane, From: f.secret.Public(at.c), To: f.secret.Public(next.c)}
	return next
}

func (f fixture) payout(t testing.TB, at position, payees int) Plan {
	t.Helper()
	p := Plan{Kind: KindPayout, Version: 1, FeePayer: PublicOf(f.operator), Blockhash: testBlockhash(),
		Mint: f.mint, Decimals: 8, Owners: map[ionet.Key]ionet.Key{f.reward: PublicOf(f.operator)}}
	var sum ionet.Amount
	for i := range payees {
		m := Movement{Op: Transfer, Source: f.reward, Destination: TokenAccount(publicKey(fmt.Sprint("payee ", i)), f.mint), Amount: ionet.MustAmount(uint64(1000 + i))}
		p.Movements = append(p.Movements, m)
		sum, _ = sum.Add(m.Amount)
	}
	p.Memo = fmt.Sprintf("io1 payout batch=000102030405060708090a0b0c0d0e0f count=%d sum=%s", payees, sum)
	p.Budget = p.DefaultBudget()
	f.step(t, &p, at)
	return p
}

func (f fixture) epoch(t testing.TB, at position, sum uint64) Plan {
	t.Helper()
	h := ionet.HashOf([]byte("h"))
	p := Plan{Kind: KindEpoch, FeePayer: PublicOf(f.operator), Blockhash: testBlockhash(),
		Memo: fmt.Sprintf("io1 epoch k=%d inputs=%s verdicts=%s count=6 sum=%d policy=%s prev=%s", at.n, h, h, sum, h, h)}
	if sum > 0 {
		p.Mint, p.Decimals, p.Owners = f.mint, 8, map[ionet.Key]ionet.Key{f.mint: PublicOf(f.operator)}
		p.Movements = []Movement{{Op: Mint, Source: f.mint, Destination: f.reward, Amount: ionet.MustAmount(sum)}}
	}
	p.Budget = p.DefaultBudget()
	f.step(t, &p, at)
	return p
}

func (f fixture) claim(t testing.TB, at position, wallet ionet.Key, amount uint64) Plan {
	t.Helper()
	p := Plan{Kind: KindClaim, FeePayer: wallet, Blockhash: testBlockhash(),
		Memo: fmt.Sprintf("io1 claim wallet=%s sum=%d", wallet, amount),
		Mint: f.mint, Decimals: 8, Owners: map[ionet.Key]ionet.Key{f.reward: PublicOf(f.operator)}, CreateDestinationFor: wallet,
		Movements: []Movement{{Op: Transfer, Source: f.reward, Destination: TokenAccount(wallet, f.mint), Amount: ionet.MustAmount(amount)}}}
	p.Budget = p.DefaultBudget()
	f.step(t, &p, at)
	return p
}

func (f fixture) fence(t testing.TB, at ...position) Plan {
	t.Helper()
	p := Plan{Kind: KindFence, Version: 1, FeePayer: PublicOf(f.operator), Blockhash: testBlockhash(), Memo: "io1 fence instance=000102030405060708090a0b0c0d0e0f"}
	for _, a := range at {
		f.step(t, &p, a)
	}
	p.Budget = p.DefaultBudget()
	return p
}

func (f fixture) genesis(t testing.TB, at position, amounts ...uint64) Plan {
	t.Helper()
	h := ionet.HashOf([]byte("h"))
	p := Plan{Kind: KindGenesis, Version: 1, FeePayer: PublicOf(f.operator), Blockhash: testBlockhash(),
		Memo: fmt.Sprintf("io1 genesis network=%s emission=%s", ionet.Key(h), h),
		Mint: f.mint, Decimals: 8, Owners: map[ionet.Key]ionet.Key{f.mint: PublicOf(f.operator)}, Reference: GenesisReference(f.mint)}
	for i, a := range amounts {
		p.Movements = append(p.Movements, Movement{Op: Mint, Source: f.mint, Destination: TokenAccount(publicKey(fmt.Sprint("owner ", i)), f.mint), Amount: ionet.MustAmount(a)})
	}
	p.Budget = p.DefaultBudget()
	f.step(t, &p, at)
	return p
}

// cosigned makes the plan's source belong to the fixture's 2 of 3, of which these
// members sign.
func (f fixture) cosigned(t testing.TB, p Plan, index int, names ...string) Plan {
	t.Helper()
	s := f.members()
	address := MultisigAddress(PublicOf(f.operator), index, s)
	source := p.Movements[0].Source
	p.Owners, p.Cosigners = map[ionet.Key]ionet.Key{source: address}, map[ionet.Key][]ionet.Key{}
	for _, n := range names {
		p.Cosigners[address] = append(p.Cosigners[address], publicKey(n))
	}
	slices.SortFunc(p.Cosigners[address], compareKeys)
	p.Budget = p.DefaultBudget()
	return p
}

func (f fixture) members() MultisigState {
	s := MultisigState{M: 2, Members: []ionet.Key{publicKey("member 0"), publicKey("member 1"), publicKey("member 2")}}
	slices.SortFunc(s.Members, compareKeys)
	return s
}

// sign signs the plan with everything that the fixture and names hold.
func (f fixture) sign(t testing.TB, p Plan, cs []ionet.Hash, names ...string) []byte {
	t.Helper()
	message, err := p.Message()
	if err != nil {
		t.Fatal(err)
	}
	all := []ed25519.PrivateKey{f.operator, f.fees}
	for _, c := range cs {
		all = append(all, f.secret.Key(c))
	}
	for _, n := range names {
		all = append(all, seeded(n))
	}
	var keys []ed25519.PrivateKey
	for _, s := range p.Signers() {
		for _, k := range all {
			if PublicOf(k) == s {
				keys = append(keys, k)
			}
		}
	}
	tx, missing, err := SignMessage(message, keys...)
	if err != nil || len(missing) > 0 {
		t.Fatalf("sign: %v, missing %v", err, missing)
	}
	return tx
}

func sprintf(format string, v any) string { return fmt.Sprintf(format, v) }

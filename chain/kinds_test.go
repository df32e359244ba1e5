package chain

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ionet-settlement/ionet"
)

// unlock releases to as many wallets, from the account of an owner of its own.
func (f fixture) unlock(t testing.TB, at position, wallets int) Plan {
	t.Helper()
	owner := publicKey("seed owner")
	source := TokenAccount(owner, f.mint)
	p := Plan{Kind: KindUnlock, Version: 1, FeePayer: PublicOf(f.operator), Blockhash: testBlockhash(),
		Mint: f.mint, Decimals: 8, Owners: map[ionet.Key]ionet.Key{source: owner}}
	var sum ionet.Amount
	for i := range wallets {
		w := publicKey(fmt.Sprint("beneficiary ", i))
		m := Movement{Op: Transfer, Source: source, Destination: TokenAccount(w, f.mint), Amount: ionet.MustAmount(uint64(100 + i))}
		p.Movements, p.Wallets = append(p.Movements, m), append(p.Wallets, w)
		sum, _ = sum.Add(m.Amount)
	}
	p.Memo = fmt.Sprintf("io1 unlock category=seed tranche=13 sum=%s", sum)
	p.Budget = p.DefaultBudget()
	f.step(t, &p, at)
	return p
}

// retire gives the mint up at the position after the last epoch.
func (f fixture) retire(t testing.TB, at position) Plan {
	t.Helper()
	p := Plan{Kind: KindRetire, Version: 1, FeePayer: PublicOf(f.operator), Blockhash: testBlockhash(), Memo: "io1 retire epoch=175319 supply=799999999999999999",
		Mint: f.mint, Owners: map[ionet.Key]ionet.Key{f.mint: PublicOf(f.operator)}}
	p.Budget = p.DefaultBudget()
	f.step(t, &p, at)
	return p
}

func TestUnlockAndRetireRules(t *testing.T) {
	f := newFixture()
	unlock := func() Plan { return f.unlock(t, f.first("pay-0"), 3) }
	retire := func() Plan { return f.retire(t, f.first("epoch")) }
	payout := func() Plan { return f.payout(t, f.first("pay-0"), 2) }
	for name, c := range map[string]struct {
		plan Plan
		with func(*Plan)
	}{
		"unlock of eight":            {f.unlock(t, f.first("pay-0"), ionet.MaxBeneficiaries), func(p *Plan) { *p = f.widen(t, *p) }},
		"unlock without wallets":     {unlock(), func(p *Plan) { p.Wallets = nil }},
		"unlock of a wallet less":    {unlock(), func(p *Plan) { p.Wallets = p.Wallets[:2] }},
		"unlock to another's":        {unlock(), func(p *Plan) { p.Wallets[0], p.Wallets[1] = p.Wallets[1], p.Wallets[0] }},
		"unlock to no wallet":        {unlock(), func(p *Plan) { p.Wallets[0] = ionet.Key{} }},
		"unlock to a wallet twice":   {unlock(), func(p *Plan) { p.Wallets[1], p.Movements[1] = p.Wallets[0], p.Movements[0] }},
		"unlock that claims":         {unlock(), func(p *Plan) { p.CreateDestinationFor = p.Wallets[0] }},
		"payout with wallets":        {payout(), func(p *Plan) { p.Wallets = []ionet.Key{publicKey("payee 0"), publicKey("payee 1")} }},
		"retire without a mint":      {retire(), func(p *Plan) { p.Mint = ionet.Key{} }},
		"retire by nobody":           {retire(), func(p *Plan) { p.Owners = nil }},
		"retire of another":          {retire(), func(p *Plan) { p.Mint = f.reward }},
		"retire with decimals":       {retire(), func(p *Plan) { p.Decimals = 8 }},
		"retire with a movement":     {retire(), func(p *Plan) { p.Movements = []Movement{{Op: Mint, Source: f.mint, Destination: f.reward}} }},
		"retire of the lane":         {retire(), func(p *Plan) { p.Mint = p.Steps[0].Lane; p.Owners = map[ionet.Key]ionet.Key{p.Mint: p.FeePayer} }},
		"retire by the one-time key": {retire(), func(p *Plan) { p.Owners[f.mint] = p.Steps[0].From }},
		"retire of two lanes":        {retire(), func(p *Plan) { f.step(t, p, f.first("seal")) }},
		"withdrawal of two": {payout(), func(p *Plan) {
			p.Kind, p.Memo = KindWithdrawal, "io1 withdrawal id=000102030405060708090a0b0c0d0e0f sum=2001"
		}},
	} {
		if err := c.plan.Check(); err != nil {
			t.Fatalf("%s: the plan does not hold before it is changed: %v", name, err)
		}
		c.with(&c.plan)
		if err := c.plan.Check(); err == nil {
			t.Errorf("%s: Check accepts it", name)
		}
	}
}

// widen adds one more beneficiary than may be.
func (f fixture) widen(t *testing.T, p Plan) Plan {
	p.Wallets = append(p.Wallets, publicKey("one too many"))
	m := p.Movements[0]
	m.Destination = TokenAccount(publicKey("one too many"), f.mint)
	p.Movements = append(p.Movements, m)
	return p
}

func TestDecodeRefusesOtherUnlocksAndRetires(t *testing.T) {
	f := newFixture()
	unlock, retire := f.unlock(t, f.first("pay-0"), 2), f.retire(t, f.first("epoch"))
	payout, epoch, claim := f.payout(t, f.first("pay-0"), 2), f.epoch(t, f.first("epoch"), 5), f.claim(t, f.first("claim-0"), publicKey("wallet"), 5)
	operator, wallet := PublicOf(f.operator), publicKey("x")
	insert := func(i int, in Instruction) func([]Instruction) []Instruction {
		return func(all []Instruction) []Instruction { return slices.Insert(all, i, in) }
	}
	remove := func(i int) func([]Instruction) []Instruction {
		return func(all []Instruction) []Instruction { return slices.Delete(all, i, i+1) }
	}
	edit := func(i int, e func(*Instruction)) func([]Instruction) []Instruction {
		return func(all []Instruction) []Instruction { e(&all[i]); return all }
	}
	giveUp, create := giveUpMint(f.mint, authority{key: operator}), createIdempotent(operator, wallet, f.mint)
	for name, tx := range map[string][]byte{
		"unlock-account-not-made":  foreign(t, unlock, remove(1)),
		"unlock-last-not-made":     foreign(t, unlock, remove(3)),
		"unlock-makes-another":     foreign(t, unlock, edit(1, func(in *Instruction) { *in = create })),
		"unlock-makes-one-more":    foreign(t, unlock, insert(5, create)),
		"unlock-makes-twice":       foreign(t, unlock, insert(1, createIdempotent(operator, unlock.Wallets[0], f.mint))),
		"unlock-makes-first":       foreign(t, unlock, func(all []Instruction) []Instruction { all[2], all[3] = all[3], all[2]; return all }),
		"unlock-by-another-payer":  foreign(t, unlock, edit(1, func(in *Instruction) { in.Accounts[0].Key = wallet })),
		"unlock-of-another-mint":   foreign(t, unlock, edit(1, func(in *Instruction) { *in = createIdempotent(operator, unlock.Wallets[0], f.reward) })),
		"unlock-gives-the-mint-up": foreign(t, unlock, insert(1, giveUp)),
		"payout-makes-an-account":  foreign(t, payout, insert(1, create)),
		"payout-makes-a-last-one":  foreign(t, payout, insert(3, create)),
		"claim-makes-a-last-one":   foreign(t, claim, insert(3, createIdempotent(claim.FeePayer, claim.FeePayer, f.mint))),
		"fence-makes-an-account":   foreign(t, f.fence(t, f.first("pay-0")), insert(1, create)),
		"epoch-gives-the-mint-up":  foreign(t, epoch, insert(1, giveUp)),
		"epoch-gives-it-up-last":   foreign(t, epoch, insert(2, giveUp)),
		"retire-of-nothing":        foreign(t, retire, remove(1)),
		"retire-twice":             foreign(t, retire, insert(1, giveUp)),
		"retire-to-somebody":       foreign(t, retire, edit(1, func(in *Instruction) { in.Data = append([]byte{6, 0, 1}, wallet[:]...) })),
		"retire-freeze-authority":  foreign(t, retire, edit(1, func(in *Instruction) { in.Data[1] = 1 })),
		"retire-and-mint":          foreign(t, retire, insert(2, mintToChecked(epoch.Movements[0], authority{key: operator}, 0))),
		"retire-after-the-memo":    foreign(t, retire, func(all []Instruction) []Instruction { all[1], all[2] = all[2], all[1]; return all }),
		"retire-trailing-byte":     foreign(t, retire, edit(1, func(in *Instruction) { in.Data = append(in.Data, 0) })),
	} {
		if d, err := Decode(tx); err == nil {
			t.Errorf("%s: decoded as %+v", name, d.Plan)
		}
	}
}

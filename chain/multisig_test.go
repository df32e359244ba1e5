package chain

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet"
)

var twoMembers = []string{"member 0", "member 1"}

// Plans of multisigs that break a rule of section 11 each.
func TestMultisigPlanRules(t *testing.T) {
	f := newFixture()
	wallet, owner := publicKey("wallet"), MultisigAddress(PublicOf(f.operator), 1, f.members())
	payout := func() Plan { return f.cosigned(t, f.payout(t, f.first("pay-0"), 2), 1, twoMembers...) }
	claim := func() Plan { return f.cosigned(t, f.claim(t, f.first("claim-0"), wallet, 5), 1, twoMembers...) }
	genesis := func() Plan {
		p := f.genesis(t, f.first("epoch"), 1, 2)
		p.HandMintTo = owner
		return p
	}
	signedBy := func(p *Plan, keys ...ionet.Key) {
		slices.SortFunc(keys, compareKeys)
		p.Cosigners[owner] = keys
	}
	for name, c := range map[string]struct {
		plan Plan
		with func(*Plan)
	}{
		"nobody":                 {payout(), func(p *Plan) { p.Cosigners[owner] = nil }},
		"of-another-owner":       {payout(), func(p *Plan) { p.Cosigners = map[ionet.Key][]ionet.Key{wallet: p.Cosigners[owner]} }},
		"of-two-owners":          {payout(), func(p *Plan) { p.Cosigners[wallet] = p.Cosigners[owner] }},
		"twice":                  {payout(), func(p *Plan) { p.Cosigners[owner][1] = p.Cosigners[owner][0] }},
		"not-ascending":          {payout(), func(p *Plan) { slices.Reverse(p.Cosigners[owner]) }},
		"zero":                   {payout(), func(p *Plan) { p.Cosigners[owner][0] = ionet.Key{} }},
		"the-multisig-itself":    {payout(), func(p *Plan) { signedBy(p, wallet, owner) }},
		"a-one-time-key":         {payout(), func(p *Plan) { signedBy(p, wallet, p.Steps[0].From) }},
		"the-lane":               {payout(), func(p *Plan) { signedBy(p, wallet, p.Steps[0].Lane) }},
		"the-mint":               {payout(), func(p *Plan) { signedBy(p, wallet, p.Mint) }},
		"the-source":             {payout(), func(p *Plan) { signedBy(p, wallet, p.Movements[0].Source) }},
		"a-destination":          {payout(), func(p *Plan) { signedBy(p, wallet, p.Movements[1].Destination) }},
		"a-claim's-wallet":       {claim(), func(p *Plan) { signedBy(p, wallet, publicKey("member 0")) }},
		"fee-payer-is-multisig":  {payout(), func(p *Plan) { p.FeePayer = owner }},
		"without-movements":      {f.fence(t, f.first("pay-0")), func(p *Plan) { p.Cosigners = payout().Cosigners }},
		"payout-gives-mint-away": {payout(), func(p *Plan) { p.HandMintTo = owner }},
		"mint-to-itself":         {genesis(), func(p *Plan) { p.HandMintTo = p.Mint }},
		"mint-to-the-operator":   {genesis(), func(p *Plan) { p.HandMintTo = p.FeePayer }},
		"mint-to-a-lane":         {genesis(), func(p *Plan) { p.HandMintTo = p.Steps[0].Lane }},
		"twelve": {payout(), func(p *Plan) {
			var keys []ionet.Key
			for i := range 12 {
				keys = append(keys, publicKey(fmt.Sprint("many ", i)))
			}
			signedBy(p, keys...)
		}},
	} {
		if _, err := c.plan.Message(); err != nil {
			t.Fatalf("%s: the plan does not hold before it is changed: %v", name, err)
		}
		c.with(&c.plan)
		if _, err := c.plan.Message(); err == nil {
			t.Errorf("%s: Message builds it", name)
		}
	}
}

func TestDecodeRefusesOtherCoSigners(t *testing.T) {
	f := newFixture()
	payout := f.cosigned(t, f.payout(t, f.first("pay-0"), 2), 1, twoMembers...)
	genesis := f.genesis(t, f.first("epoch"), 1, 2)
	genesis.HandMintTo = publicKey("someone")
	for name, p := range map[string]Plan{"payout": payout, "genesis": genesis} {
		if _, err := Decode(foreign(t, p, func(in []Instruction) []Instruction { return in })); err != nil {
			t.Fatalf("%s unchanged: %v", name, err)
		}
	}
	edit := func(e func(*Instruction), at ...int) func([]Instruction) []Instruction {
		return func(all []Instruction) []Instruction {
			for _, i := range at {
				all[i].Accounts = slices.Clone(all[i].Accounts)
				e(&all[i])
			}
			return all
		}
	}
	stranger := Account{Key: publicKey("stranger"), Signer: true}
	for name, tx := range map[string][]byte{
		"missing-in-one":       foreign(t, payout, edit(func(in *Instruction) { in.Accounts = in.Accounts[:5] }, 1)),
		"missing-in-all":       foreign(t, payout, edit(func(in *Instruction) { in.Accounts = in.Accounts[:4] }, 1, 2)),
		"another-in-one":       foreign(t, payout, edit(func(in *Instruction) { in.Accounts[5] = stranger }, 2)),
		"twice":                foreign(t, payout, edit(func(in *Instruction) { in.Accounts[5] = in.Accounts[4] }, 1, 2)),
		"other-order":          foreign(t, payout, edit(func(in *Instruction) { slices.Reverse(in.Accounts[4:]) }, 1, 2)),
		"one-signs-not":        foreign(t, payout, edit(func(in *Instruction) { in.Accounts[5] = Account{Key: publicKey("silent")} }, 1, 2)),
		"multisig-signs":       foreign(t, payout, edit(func(in *Instruction) { in.Accounts[3].Signer = true }, 1, 2)),
		"cosigner-is-writable": foreign(t, payout, edit(func(in *Instruction) { in.Accounts[4].Writable = true }, 1, 2)),
		"mint-handed-by-other": foreign(t, genesis, edit(func(in *Instruction) { in.Accounts[1] = stranger }, 4)),
		"another-mint-handed":  foreign(t, genesis, edit(func(in *Instruction) { in.Accounts[0].Key = stranger.Key }, 4)),
		"freeze-set":           foreign(t, genesis, edit(func(in *Instruction) { in.Data[1] = 1 }, 4)),
		"mint-to-nobody":       foreign(t, genesis, edit(func(in *Instruction) { clear(in.Data[3:]) }, 4)),
		"handed-before-mint":   foreign(t, genesis, func(all []Instruction) []Instruction { all[3], all[4] = all[4], all[3]; return all }),
		"handed-twice":         foreign(t, genesis, func(all []Instruction) []Instruction { return slices.Insert(all, 4, all[4]) }),
		"handed-by-payout": foreign(t, payout, func(all []Instruction) []Instruction {
			return slices.Insert(all, 3, handMint(payout.Mint, payout.authorityOf(f.reward), stranger.Key))
		}),
	} {
		if d, err := Decode(tx); err == nil {
			t.Errorf("%s: decoded as %+v", name, d.Plan)
		}
	}
}

// What ionet.ParseNetwork allows fits: ten signers in version 1, four in a claim,
// with room for what a wallet appends.
func TestMultisigLimits(t *testing.T) {
	f := newFixture()
	var names []string
	for i := range 10 {
		names = append(names, fmt.Sprint("many ", i))
	}
	payout := f.cosigned(t, f.payout(t, f.first("pay-0"), 1), 1, names...)
	if _, err := payout.Message(); err != nil {
		t.Errorf("payout by ten: %v", err)
	}
	epoch := f.cosigned(t, f.epoch(t, f.first("epoch"), 9_999_999_999), 0, names...)
	epoch.Version = 1
	if _, err := epoch.Message(); err != nil {
		t.Errorf("epoch by ten: %v", err)
	}
	claim := f.cosigned(t, f.claim(t, f.first("claim-0"), publicKey("wallet"), 1<<62), 1, names[:4]...)
	message, err := claim.Message()
	if size := 1 + 64*len(claim.Signers()) + len(message); err != nil || size > MaxSizeV0-100 {
		t.Errorf("claim by four: %d bytes, %v, want at most %d", size, err, MaxSizeV0-100)
	}
}

func TestParseMultisig(t *testing.T) {
	members := []ionet.Key{publicKey("member 0"), publicKey("member 1")}
	account := append([]byte{2, 2, 1}, make([]byte, 11*32)...)
	copy(account[3:], slices.Concat(members[0][:], members[1][:]))
	if got, err := ParseMultisig(tokenProgram, account); err != nil || got.M != 2 || !slices.Equal(got.Members, members) {
		t.Errorf("ParseMultisig: got %+v, %v", got, err)
	}
	for name, change := range map[string]func([]byte){
		"m 0":            func(b []byte) { b[0] = 0 },
		"m above n":      func(b []byte) { b[0] = 3 },
		"n of 12":        func(b []byte) { b[1] = 12 },
		"not made":       func(b []byte) { b[2] = 0 },
		"state 2":        func(b []byte) { b[2] = 2 },
		"a third member": func(b []byte) { b[3+64] = 1 },
	} {
		b := bytes.Clone(account)
		change(b)
		if got, err := ParseMultisig(tokenProgram, b); err == nil {
			t.Errorf("%s: parsed as %+v", name, got)
		}
	}
	if _, err := ParseMultisig(systemProgram, nil); err == nil {
		t.Error("no account is a multisig")
	}
	if _, err := ParseMultisig(publicKey("program"), account); err == nil {
		t.Error("another program's account is a multisig")
	}
}

// The formula of section 2, written out once more.
func TestMultisigAddress(t *testing.T) {
	f := newFixture()
	operator, s := PublicOf(f.operator), f.members()
	bumped := 0
	for index := range 16 {
		got := MultisigAddress(operator, index, s)
		if !solana.IsOnCurve(got[:]) {
			t.Errorf("multisig %d at %s: wallets would not pay to it", index, got)
		}
		for bump := byte(0); ; bump++ {
			text := slices.Concat([]byte("io/multisig/1"), []byte{byte(index), 2}, s.Members[0][:], s.Members[1][:], s.Members[2][:], []byte{bump})
			seed := ionet.HashOf(text).String()[:32]
			want := ionet.Key(ionet.HashOf(operator[:], []byte(seed), tokenProgram[:]))
			if got == want {
				break
			}
			if solana.IsOnCurve(want[:]) {
				t.Fatalf("multisig %d is at %s, want %s of bump %d", index, got, want, bump)
			}
			bumped++
		}
	}
	if bumped == 0 {
		t.Error("no bump was needed: the test shows nothing")
	}
	if MultisigAddress(operator, 0, s) == MultisigAddress(operator, 1, s) {
		t.Error("the index does not matter")
	}
	for name, bad := range map[string]MultisigState{
		"m 0":         {M: 0, Members: s.Members},
		"m above n":   {M: 4, Members: s.Members},
		"descending":  {M: 1, Members: []ionet.Key{s.Members[1], s.Members[0]}},
		"twice":       {M: 1, Members: []ionet.Key{s.Members[0], s.Members[0]}},
		"no members":  {},
		"a zero key":  {M: 1, Members: []ionet.Key{{}}},
		"too many":    {M: 1, Members: make([]ionet.Key, 12)},
		"m below one": {M: -1, Members: s.Members},
	} {
		if bad.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzParseMultisig(f *testing.F) {
	f.Add(append([]byte{1, 1, 1, 9}, make([]byte, MultisigSize-4)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseMultisig(tokenProgram, data)
		if err != nil {
			return
		}
		again := append([]byte{byte(s.M), byte(len(s.Members)), 1}, make([]byte, 11*32)...)
		for i, k := range s.Members {
			copy(again[3+32*i:], k[:])
		}
		if !bytes.Equal(again, data) {
			t.Error("two encodings of one multisig")
		}
	})
}

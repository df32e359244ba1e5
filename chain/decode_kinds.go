package chain

import (
	"fmt"
	"slices"

	"github.com/ionet-settlement/ionet"
)

// assign gives what only the kind tells the meaning of to the plan: a claim may
// make one account, an unlock makes one for each movement, a retire gives the
// mint up.
func (d *decoder) assign() error {
	p := &d.plan
	if d.retires != (p.Kind == KindRetire) {
		return fmt.Errorf("%s gives up the mint: %t", p.Kind, d.retires)
	}
	switch {
	case p.Kind == KindUnlock:
		p.Wallets = d.made
	case len(d.made) > 0 && p.Kind == KindClaim:
		p.CreateDestinationFor, d.made = d.made[0], d.made[1:]
		fallthrough
	default:
		if slices.ContainsFunc(d.made, func(k ionet.Key) bool { return !k.IsZero() }) {
			return fmt.Errorf("%s makes a token account that is not its own", p.Kind)
		}
	}
	return nil
}

// retire takes the instruction that gives the mint up.
func (d *decoder) retire() {
	in, ok := d.next()
	var by authority
	if ok && in.isData(tokenProgram, 3, tokenSetAuthority, authorityMintTokens, 0) && in.grants(&by, "w") {
		d.plan.Mint = in.Accounts[0].Key
		d.owner(d.plan.Mint, by)
		d.retires, d.rest = true, d.rest[1:]
	}
}

// create takes a CreateIdempotent and returns its wallet; Plan.Check compares its
// account with the movement's destination, the rest is compared here.
func (d *decoder) create() (wallet ionet.Key) {
	in, ok := d.next()
	if !ok || !in.isData(associateProgram, 1, associateIdempotent) || len(in.Accounts) != 6 {
		return wallet
	}
	want := createIdempotent(d.plan.FeePayer, in.Accounts[2].Key, in.Accounts[3].Key)
	for i, a := range want.Accounts {
		if in.Accounts[i].Key != a.Key {
			return wallet
		}
	}
	if mint := in.Accounts[3].Key; d.plan.Mint.IsZero() {
		d.plan.Mint = mint
	} else if d.plan.Mint != mint {
		return wallet
	}
	d.rest = d.rest[1:]
	return in.Accounts[2].Key
}

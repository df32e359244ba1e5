package chain

import (
	"slices"
	"sort"

	"github.com/ionet-settlement/ionet"
)

// MaxPayees returns how many transfers of that kind fit into one transaction
// of that version with that memo: 57 for a payout of version 1, whose fee
// payer owns the vault; one less for other kinds, whose vault has an owner of
// its own. Where a multisig owns the vault, cosigners of its members sign (0: it
// is a key): it and each of them cost one payee more, so that a payout has 54
// with two. It is found by building, so that it follows from the same limits.
func MaxPayees(kind Kind, version int, memo string, cosigners int) int {
	return sort.Search(64, func(n int) bool {
		_, err := samplePayment(kind, version, memo, cosigners, n+1).Message()
		return err != nil
	})
}

// samplePayment is a plan of n transfers between addresses that stand for any.
func samplePayment(kind Kind, version int, memo string, cosigners, n int) Plan {
	next := byte(0)
	key := func() ionet.Key {
		next++
		return ionet.Key(ionet.HashOf([]byte("io/sample"), []byte{next}))
	}
	p := Plan{
		Kind: kind, Version: version, FeePayer: key(), Memo: memo, Mint: key(), Blockhash: key(),
		Steps: []Step{{Lane: key(), From: key(), To: key()}}, Budget: Budget{ComputeUnits: 1, LoadedBytes: 1, PriorityLamports: 1},
	}
	source, owner := key(), p.FeePayer
	if kind != KindPayout || cosigners > 0 {
		owner = key()
	}
	p.Owners = map[ionet.Key]ionet.Key{source: owner}
	if cosigners > 0 {
		var list []ionet.Key
		for range cosigners {
			list = append(list, key())
		}
		slices.SortFunc(list, compareKeys)
		p.Cosigners = map[ionet.Key][]ionet.Key{owner: list}
	}
	for range n {
		wallet, destination := ionet.Key{}, key()
		if kind == KindUnlock {
			wallet = destination
			destination = TokenAccount(wallet, p.Mint)
			p.Wallets = append(p.Wallets, wallet)
		}
		p.Movements = append(p.Movements, Movement{Op: Transfer, Source: source, Destination: destination})
	}
	return p
}

// MovementAt returns the index of the movement that instruction i of the
// transaction carries out; ok is false for the other instructions. The index
// of an InstructionError thus names the payee that broke a batch.
func (p Plan) MovementAt(i int) (movement int, ok bool) {
	i -= len(p.Steps)
	if p.Version == 0 {
		i -= len(budgetInstructions(p.Budget))
	}
	if !p.Reference.IsZero() {
		i--
	}
	if !p.CreateDestinationFor.IsZero() {
		i--
	}
	if len(p.Wallets) > 0 { // each transfer follows the making of its account
		return i / 2, i%2 == 1 && i/2 < len(p.Movements)
	}
	return i, i >= 0 && i < len(p.Movements)
}

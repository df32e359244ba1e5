package audit

import (
	"fmt"
	"math/big"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/emissions"
)

// free is a category without beneficiaries: its owner moves its tokens himself, once
// they are unlocked.
type free struct {
	total  ionet.Amount
	unlock emissions.Unlock
	moved  *big.Int // by its owner, base units
	times  int      // in so many transactions
}

// freeOf returns what its owner may move, nil where only lanes may: the network
// releases it, or its unlock is none, which is a finding of the network file.
func freeOf(al ionet.Allocation) *free {
	u, err := emissions.ParseUnlock(al.Unlock)
	if err != nil || al.IsManaged() {
		return nil
	}
	return &free{total: al.Amount, unlock: u, moved: new(big.Int)}
}

// locked is what has to be in the account at a block's time, with k epochs passed:
//
//	locked = total - Unlocked(k)                          emissions/FORMAT.md 2.2, 2.4
func (f *free) locked(clock ionet.Clock, time int64) *big.Int {
	total := new(big.Int).SetUint64(f.total.Base())
	unlocked := f.unlock.By(f.total, emissions.Passed(clock, time))
	return total.Sub(total, new(big.Int).SetUint64(unlocked.Base()))
}

// ownerMoved looks at what left a free category's account past the lanes. All that was
// unlocked at the block's time is its owner's to move, as is what others sent there or
// he sent back: what counts is that what was locked is left.
func (a *auditor) ownerMoved(h *held, tx *transaction, object string, change *big.Int) {
	if locked := h.free.locked(a.network.Clock(), tx.time); h.balance.Cmp(locked) < 0 {
		a.r.find(a.during(tx), object, "vault-debit", fmt.Sprintf("%s base units left, which were locked then", locked), h.balance)
	}
	h.free.moved.Sub(h.free.moved, change)
	h.free.times++
}

// tell notes what the owner moved.
func (f *free) tell(r *Report, name string) {
	if f.times > 0 {
		r.note("%s: its owner moved %s base units himself, in %s", name, f.moved, plural(f.times, "transaction"))
	}
}

// ownersMultisig reports whether the multisig owns a free category: its members sign
// for that past the lanes.
func (a *auditor) ownersMultisig(address ionet.Key) bool {
	if _, ok := a.network.Multisig(address); !ok {
		return false
	}
	return slices.ContainsFunc(a.network.Allocation, func(al ionet.Allocation) bool { return al.Owner == address && !al.IsManaged() })
}

// asMember reports whether the key signs an instruction as a member of the multisig of
// a free category.
func (a *auditor) asMember(key ionet.Key, in chain.Instruction) bool {
	i, ok := authorityAt[in.Data[0]]
	if !ok || i >= len(in.Accounts) || !a.ownersMultisig(in.Accounts[i].Key) {
		return false
	}
	return slices.ContainsFunc(in.Accounts[i+1:], func(m chain.Account) bool { return m.Key == key && m.Signer })
}

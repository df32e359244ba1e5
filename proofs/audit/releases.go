package audit

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
)

// checkReleases walks all unlocks in the order of the chain: each moved what was
// unlocked by the end of a month that was over, less what was released before, to
// the beneficiaries by their parts. That nothing else left an allocation account is
// for checkVaults.
func (a *auditor) checkReleases(context.Context) error {
	released := map[string]ionet.Amount{}
	for _, w := range a.releases() {
		a.checkRelease(w, released)
	}
	for _, al := range a.network.Allocation {
		if al.IsManaged() {
			a.r.note("%s: %s of %s base units are released", al.Category, released[al.Category], al.Amount)
		}
	}
	return nil
}

// releases returns the unlocks in order of the chain. Two of one category are never
// in one slot, unless somebody made them by hand: then the months tell the order.
func (a *auditor) releases() []winner {
	var all []winner
	for _, w := range a.winners() {
		if w.content.Kind == chain.KindUnlock {
			all = append(all, w)
		}
	}
	tranche := func(w winner) uint64 {
		memo, _ := proofs.ParseMemo(w.content.Memo)
		m, _ := memo.(proofs.UnlockMemo)
		return m.Tranche
	}
	slices.SortStableFunc(all, func(x, y winner) int {
		return cmp.Or(cmp.Compare(x.tx.slot, y.tx.slot), cmp.Compare(tranche(x), tranche(y)))
	})
	return all
}

// checkRelease checks one and adds it to what is released: FORMAT.md section 10.
func (a *auditor) checkRelease(w winner, released map[string]ionet.Amount) {
	epoch, object := a.epochOf(w), fmt.Sprintf("%s %s", w.content.Kind, w.tx.signature)
	memo, err := proofs.ParseMemo(w.content.Memo)
	m, ok := memo.(proofs.UnlockMemo)
	if !ok {
		a.r.find(epoch, object, "memo", "the memo of an unlock", fmt.Sprintf("%q: %v", w.content.Memo, err))
		return
	}
	al, ok := a.network.AllocationOf(m.Category)
	if !ok || !al.IsManaged() {
		a.r.find(epoch, object, "unlock-category", "a category with beneficiaries", m.Category)
		return
	}
	u, err := emissions.ParseUnlock(al.Unlock)
	if err != nil {
		return // is a finding of the network file already
	}
	if over := emissions.Month(emissions.Passed(a.network.Clock(), w.tx.time)); m.Tranche > over {
		a.r.find(epoch, object, "unlock-early", fmt.Sprintf("a month that was over: at most %d", over), m.Tranche)
	}
	due, err := u.ByMonth(al.Amount, m.Tranche).Sub(released[m.Category])
	if err != nil || due.IsZero() {
		a.r.find(epoch, object, "unlock-due", "more than what was released before", err)
	} else {
		same(a.r, epoch, object, "unlock-due", due, m.Sum)
	}
	same(a.r, epoch, object, "unlock-share", fmt.Sprint(releaseMovements(al, m.Sum)), fmt.Sprint(a.withWallets(w)))
	a.count(epoch, object, m.Category, w, released)
}

// count adds what the unlock moved, whatever it says.
func (a *auditor) count(epoch uint64, object, category string, w winner, released map[string]ionet.Amount) {
	for _, m := range w.content.Movements {
		sum, err := released[category].Add(m.Amount)
		if err != nil {
			a.r.find(epoch, object, "unlock-due", "a sum that can be", err)
			return
		}
		released[category] = sum
		if total, err := a.r.Released.Add(m.Amount); err == nil {
			a.r.Released = total
		}
	}
}

// releaseMovement is a movement of an unlock with the wallet that it is for.
type releaseMovement struct {
	source, wallet ionet.Key
	amount         ionet.Amount
}

// String is what a finding shows.
func (m releaseMovement) String() string {
	return fmt.Sprintf("%s from %s to %s", m.amount, m.source, m.wallet)
}

// releaseMovements is what releases sum of an allocation.
func releaseMovements(al ionet.Allocation, sum ionet.Amount) []releaseMovement {
	shares, err := emissions.Divide(sum, al.Beneficiaries)
	if err != nil {
		return nil // of parts that no network file has
	}
	var list []releaseMovement
	for i, b := range al.Beneficiaries {
		if !shares[i].IsZero() {
			list = append(list, releaseMovement{al.Account, b.Wallet, shares[i]})
		}
	}
	return list
}

// withWallets returns the movements of an unlock with the wallets that its
// transaction names; chain.Decode has compared those with the destinations.
func (a *auditor) withWallets(w winner) []releaseMovement {
	var list []releaseMovement
	for i, m := range w.content.Movements {
		list = append(list, releaseMovement{m.Source, w.tx.decoded.Plan.Wallets[i], m.Amount})
	}
	return list
}

package audit

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
)

// checkPayments walks all payments in the order of the chain: at no moment may
// a payee have been paid more than was sealed for him in an earlier slot. Kinds of
// contents that this version can't tie to a reason are findings where they move
// tokens, and unchecked where they do not.
func (a *auditor) checkPayments(context.Context) error {
	a.checkOtherKinds()
	earned, paid := map[ionet.Key]ionet.Amount{}, map[ionet.Key]ionet.Amount{}
	next := 0
	for _, w := range a.payments() {
		for ; next < len(a.credits) && a.credits[next].slot < w.tx.slot; next++ {
			c := a.credits[next]
			sum, err := earned[c.payee].Add(c.amount)
			if err != nil {
				a.r.find(c.epoch, "payee "+c.payee.String(), "earned", "a sum that can be", err)
				continue
			}
			earned[c.payee] = sum
		}
		for _, m := range w.content.Movements {
			a.checkPayment(w, m, earned, paid)
		}
		a.checkPaymentMemo(w)
	}
	return nil
}

// checkOtherKinds looks at the contents that are neither epoch nor payment.
func (a *auditor) checkOtherKinds() {
	for _, w := range a.winners() {
		object := fmt.Sprintf("%s %s", w.content.Kind, w.tx.signature)
		if _, err := proofs.ParseMemo(w.content.Memo); err != nil {
			a.r.find(a.epochOf(w), object, "memo", "a memo of FORMAT.md section 10", err)
		}
	}
}

// winners returns all that landed by us, in one order on every run.
func (a *auditor) winners() []winner {
	all := make([]winner, 0, len(a.known))
	for _, signature := range slices.Sorted(maps.Keys(a.known)) {
		all = append(all, a.known[signature])
	}
	return all
}

// payments returns the winners that pay, in order of the chain.
func (a *auditor) payments() []winner {
	var all []winner
	for _, w := range a.winners() {
		if k := w.content.Kind; k == chain.KindPayout || k == chain.KindClaim {
			all = append(all, w)
		}
	}
	slices.SortFunc(all, func(x, y winner) int {
		return cmp.Or(cmp.Compare(x.tx.slot, y.tx.slot), strings.Compare(x.lane, y.lane), cmp.Compare(x.content.N, y.content.N))
	})
	return all
}

func (a *auditor) checkPayment(w winner, m chain.Movement, earned, paid map[ionet.Key]ionet.Amount) {
	object := fmt.Sprintf("%s %s", w.content.Kind, w.tx.signature)
	same(a.r, a.epochOf(w), object, "payment-source", a.network.Vaults.Reward, m.Source)
	payee, ok := a.payees[m.Destination]
	if !ok {
		a.doubt(a.epochOf(w), object, "payment-reason", "the token account of a payee", m.Destination)
		return
	}
	sum, err := paid[payee].Add(m.Amount)
	if err != nil {
		a.r.find(a.epochOf(w), object, "overpaid", "a sum that can be", err)
		return
	}
	if sum.Cmp(earned[payee]) > 0 {
		a.doubt(a.epochOf(w), object, "overpaid", fmt.Sprintf("at most %s for %s by slot %d", earned[payee], payee, w.tx.slot), sum)
	}
	paid[payee] = sum
	a.r.Payouts++
	if w.content.Kind == chain.KindClaim {
		a.r.Claims++
	}
	if total, err := a.r.Paid.Add(m.Amount); err == nil {
		a.r.Paid = total
	}
}

// doubt is a finding, unless a book is lost that might explain the payment.
func (a *auditor) doubt(epoch uint64, object, rule string, expected, found any) {
	if len(a.lost) > 0 {
		a.r.skip(epoch, object, rule, expected, found)
		return
	}
	a.r.find(epoch, object, rule, expected, found)
}

// checkPaymentMemo compares what a payment says of itself with what it does.
func (a *auditor) checkPaymentMemo(w winner) {
	object := fmt.Sprintf("%s %s", w.content.Kind, w.tx.signature)
	var sum ionet.Amount
	var err error
	for _, m := range w.content.Movements {
		if sum, err = sum.Add(m.Amount); err != nil {
			a.r.find(a.epochOf(w), object, "payment-memo", "a sum that can be", err)
			return
		}
	}
	switch memo, err := proofs.ParseMemo(w.content.Memo); m := memo.(type) {
	case proofs.PayoutMemo:
		same(a.r, a.epochOf(w), object, "payment-memo", m.Sum, sum)
		same(a.r, a.epochOf(w), object, "payment-memo", m.Count, uint64(len(w.content.Movements)))
	case proofs.ClaimMemo:
		same(a.r, a.epochOf(w), object, "payment-memo", m.Sum, sum)
		same(a.r, a.epochOf(w), object, "claim-wallet", chain.TokenAccount(m.Wallet, a.Mint), w.content.Movements[0].Destination)
		same(a.r, a.epochOf(w), object, "claim-wallet", m.Wallet, w.tx.decoded.FeePayer)
	default:
		a.r.find(a.epochOf(w), object, "payment-memo", "a memo of its kind", fmt.Sprintf("%q: %v", w.content.Memo, err))
	}
}

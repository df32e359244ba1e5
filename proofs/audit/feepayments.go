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

// checkFees holds the payments of fees against the receipts: by no block time was a payee
// paid more than receipts that were accepted by then owe him.
func (a *auditor) checkFees(context.Context) error {
	accounts := make(map[ionet.Key]ionet.Key, len(a.fees.payees))
	for payee := range a.fees.payees {
		accounts[chain.TokenAccount(payee, a.Mint)] = payee
	}
	var paid []winner
	for _, w := range a.winners() {
		if w.content.Kind == chain.KindFees {
			paid = append(paid, w)
		}
	}
	slices.SortFunc(paid, func(x, y winner) int {
		return cmp.Or(cmp.Compare(x.tx.slot, y.tx.slot), strings.Compare(x.lane, y.lane), cmp.Compare(x.content.N, y.content.N))
	})
	for _, w := range paid {
		if err := a.payFees(w, accounts); err != nil {
			return err
		}
	}
	for _, payee := range sortedKeys(a.fees.payees) {
		_, err := a.fees.payees[payee].walk(func(m move, had ionet.Amount) {
			a.feeDoubt(m.epoch, m.object, "fee-overpaid", fmt.Sprintf("at most %s for %s", had, payee), m.amount)
		})
		if err != nil {
			return fmt.Errorf("sum the fees of %s: %w", payee, err)
		}
	}
	return nil
}

// payFees notes what a batch of fees paid to whom, and holds it against its memo.
func (a *auditor) payFees(w winner, accounts map[ionet.Key]ionet.Key) error {
	epoch, object := a.epochOf(w), fmt.Sprintf("%s %s", w.content.Kind, w.tx.signature)
	var sum ionet.Amount
	seen := map[ionet.Key]bool{}
	for _, m := range w.content.Movements {
		same(a.r, epoch, object, "payment-source", a.network.Vaults.Fee, m.Source)
		if seen[m.Destination] {
			a.r.find(epoch, object, "payment-reason", "each payee once", m.Destination)
		}
		seen[m.Destination] = true
		payee, ok := accounts[m.Destination]
		if !ok {
			a.feeDoubt(epoch, object, "payment-reason", "the token account of a payee of receipts", m.Destination)
		} else {
			a.fees.payees.take(payee, w.tx.time, m.Amount, object, epoch)
		}
		var err error
		if sum, err = sum.Add(m.Amount); err != nil {
			return fmt.Errorf("sum %s: %w", object, err)
		}
		a.r.FeePayments++
	}
	memo, err := proofs.ParseMemo(w.content.Memo)
	m, ok := memo.(proofs.FeesMemo)
	if !ok {
		a.r.find(epoch, object, "payment-memo", "the memo of fees", fmt.Sprintf("%q: %v", w.content.Memo, err))
		return nil
	}
	same(a.r, epoch, object, "payment-memo", m.Sum, sum)
	same(a.r, epoch, object, "payment-memo", m.Count, uint64(len(w.content.Movements)))
	if a.r.FeesPaid, err = a.r.FeesPaid.Add(sum); err != nil {
		return fmt.Errorf("sum the payments of fees: %w", err)
	}
	return nil
}

// sortedKeys returns wallets in one order on every run.
func sortedKeys(f flows) []ionet.Key {
	return slices.SortedFunc(maps.Keys(f), func(a, b ionet.Key) int { return slices.Compare(a[:], b[:]) })
}

// feeDoubt is a finding, unless records are missing that might explain the payment.
func (a *auditor) feeDoubt(epoch uint64, object, rule string, expected, found any) {
	if a.feesLost {
		a.r.skip(epoch, object, rule, expected, found)
		return
	}
	a.r.find(epoch, object, rule, expected, found)
}

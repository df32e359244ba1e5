package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/proofs"
)

// readHistory follows the vaults' finalized histories: who got what and who gave
// what, told by the balances beside each transaction and by nothing of ours.
func (o *oracle) readHistory(ctx context.Context, r *run) error {
	v := r.world.net.Network.Vaults
	for _, vault := range []ionet.Key{v.Reward, v.Fee} {
		var fresh []rpc.Entry
		for e, err := range r.world.clean.History(ctx, vault, o.newest[vault], 0) {
			if err != nil {
				return fmt.Errorf("read the history of %s: %w", vault, err)
			}
			fresh = append(fresh, e)
		}
		for _, e := range slices.Backward(fresh) {
			if e.Err == nil {
				if err := o.follow(ctx, r, vault, e.Signature); err != nil {
					return fmt.Errorf("read the history of %s: %w", vault, err)
				}
			}
			o.newest[vault] = e.Signature
		}
	}
	return nil
}

// follow adds what one transaction did to a vault.
func (o *oracle) follow(ctx context.Context, r *run, vault ionet.Key, signature chain.Signature) error {
	tx, err := r.world.clean.Transaction(ctx, signature)
	if err != nil {
		return err
	}
	change := changesOf(tx, r.world.net.Network.Mint)
	minted := int64(0)
	for _, d := range change {
		minted += d
	}
	switch moved := change[vault]; {
	case moved > 0 && minted == 0:
		o.credit(r, signature, uint64(moved))
	case moved < 0 && r.stolen[signature]:
		o.stolen += uint64(-moved)
	case moved < 0:
		o.debit(r, vault, change, isFees(tx.Bytes))
	}
	return nil
}

// changesOf sums what a transaction did to the token accounts of a mint.
func changesOf(tx *rpc.Transaction, mint ionet.Key) map[ionet.Key]int64 {
	change := map[ionet.Key]int64{}
	for _, b := range tx.PreTokens {
		if b.Mint == mint {
			change[b.Account] -= int64(b.Amount)
		}
	}
	for _, b := range tx.PostTokens {
		if b.Mint == mint {
			change[b.Account] += int64(b.Amount)
		}
	}
	return change
}

// credit gives what came in to whom the sender meant it for; the rest is nobody's.
func (o *oracle) credit(r *run, signature chain.Signature, amount uint64) {
	for _, m := range r.meant[signature] {
		o.renters[m.wallet] += m.amount
		amount -= m.amount
	}
	o.suspense += amount
}

func (o *oracle) debit(r *run, vault ionet.Key, change map[ionet.Key]int64, fees bool) {
	for account, d := range change {
		if d <= 0 {
			continue
		}
		if payee, ok := r.world.payees()[account]; ok && fees {
			o.gotFees[payee] += uint64(d)
		} else if vault == r.world.net.Network.Vaults.Fee {
			o.drawn[account] += uint64(d)
		} else if payee, ok := r.world.payees()[account]; ok {
			o.received[payee] += uint64(d)
		}
	}
}

// payees maps the token accounts of the providers' wallets to them.
func (w *world) payees() map[ionet.Key]ionet.Key {
	if w.accounts == nil {
		w.accounts = map[ionet.Key]ionet.Key{}
		for _, p := range w.providers {
			w.accounts[chain.TokenAccount(p.payee(), w.net.Network.Mint)] = p.payee()
		}
	}
	return w.accounts
}

// seeOnce: a withdrawal is won by one content, and so is a tranche.
func (o *oracle) seeOnce(c chain.Content, hash ionet.Hash) error {
	memo, err := proofs.ParseMemo(c.Memo)
	if err != nil {
		return fmt.Errorf("memo of content %s: %w", hash, err)
	}
	var what string
	switch m := memo.(type) {
	case proofs.WithdrawalMemo:
		what = fmt.Sprintf("withdrawal %x", m.ID)
	case proofs.UnlockMemo:
		what = fmt.Sprintf("tranche %d of %s", m.Tranche, m.Category)
	default:
		return nil
	}
	if was, ok := o.once[what]; ok && was != hash {
		return fmt.Errorf("%s was won by content %s, and by %s too", what, was, hash)
	}
	o.once[what] = hash
	return nil
}

// checkRenters: what was credited to each renter is unspent, set aside, being withdrawn, or
// was withdrawn or spent, and is no more than the chain knows of.
func (o *oracle) checkRenters(ctx context.Context, tx pgx.Tx) error {
	aside, err := setAside(ctx, tx)
	if err != nil {
		return err
	}
	rows, err := tx.Query(ctx, selectRenters)
	if err != nil {
		return fmt.Errorf("read the renters' standings: %w", err)
	}
	var text string
	var credited, held, paid uint64
	_, err = pgx.ForEachRow(rows, []any{&text, &credited, &held, &paid}, func() error {
		wallet, err := ionet.ParseKey(text)
		if err != nil {
			return err
		}
		if spent := o.all.spent[wallet]; credited != held+aside[wallet]+paid+spent {
			return fmt.Errorf("renter %s paid in %d, holds %d, set %d aside, spent %d and withdrew %d", wallet, credited, held, aside[wallet], spent, paid)
		}
		if credited > o.renters[wallet] {
			return fmt.Errorf("renter %s paid in %d by the books, %d by the chain", wallet, credited, o.renters[wallet])
		}
		return nil
	})
	return err
}

// A credit and a payment know their renter by key, a ledger account by name; the
// ledger's own entries of deposits say how they are called.
const selectRenters = `
SELECT wallet, sum(credited)::bigint, sum(held)::bigint, sum(paid)::bigint FROM (
    SELECT split_part(t.credit, ':', 2) AS wallet, t.amount AS credited, 0 AS held, 0 AS paid
    FROM ledger_transfers t WHERE starts_with(t.debit, 'vault:') AND starts_with(t.credit, 'renter:')
    UNION ALL
    SELECT split_part(account, ':', 2), 0, balance, 0 FROM ledger_balances
    WHERE starts_with(account, 'renter:') OR starts_with(account, 'withdrawing:') OR starts_with(account, 'withdrawal-inflight:')
    UNION ALL
    SELECT split_part(t.debit, ':', 2), 0, 0, t.amount
    FROM ledger_transfers t WHERE t.credit = 'vault:fee'
        AND (starts_with(t.debit, 'renter:') OR starts_with(t.debit, 'withdrawing:') OR starts_with(t.debit, 'withdrawal-inflight:'))) AS all_of_them
GROUP BY wallet`

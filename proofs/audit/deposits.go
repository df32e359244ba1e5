package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// renters is what the walk through the fee vault's history knows.
type renters struct {
	flows      flows                   // paid in, withdrawn, reserved by sessions, and given back
	references map[ionet.Key]ionet.Key // reference -> renter; zero where it is none
	payments   map[[16]byte]string     // payment id -> its transaction
	requests   map[request]string      // the ids that renters drew
}

type request struct {
	renter ionet.Key
	id     [16]byte
}

// withdrawalGrace is how many seconds after its expiry a withdrawal may land: it was
// signed before.
const withdrawalGrace = 300

// checkDeposits walks the fee vault's history in the order of the chain: what came in
// with one published reference is its renter's, all else is in suspense; every
// withdrawal carries out a statement that its renter signed, once, and never takes
// more than he had paid in by then. That vault and contents agree is for checkVaults.
func (a *auditor) checkDeposits(ctx context.Context) error {
	signatures, err := a.history(ctx, a.network.Vaults.Fee)
	if err != nil {
		return fmt.Errorf("read the history of the fee vault: %w", err)
	}
	r := &renters{a.fees.renters, map[ionet.Key]ionet.Key{}, map[[16]byte]string{}, map[request]string{}}
	for _, sig := range signatures {
		tx, err := a.transaction(ctx, sig)
		if err != nil {
			return fmt.Errorf("read transaction %s: %w", sig, err)
		}
		w, ours := a.known[sig]
		switch {
		case tx.failed:
		case !ours:
			err = a.payIn(ctx, r, tx)
		case w.content.Kind == chain.KindWithdrawal:
			err = a.checkWithdrawal(ctx, r, w)
		}
		if err != nil {
			return err
		}
	}
	a.Progress("deposits: %d of %d renters", a.r.Deposits, len(r.flows))
	return a.checkRenters(r)
}

// payIn books what a foreign transaction paid into the fee vault.
func (a *auditor) payIn(ctx context.Context, r *renters, tx *transaction) error {
	vault := a.network.Vaults.Fee
	changed := tx.change(vault)
	if changed.Sign() <= 0 {
		return nil // a debit is a finding of checkVaults
	}
	credits, said, agree := chain.CreditsTo(vault, chain.Moves(tx.raw.Instructions, tx.called), changed)
	if !agree {
		a.r.note("%s base units in suspense: the instructions of %s move %s to the fee vault", changed, tx.signature, said)
		return a.suspend(changed.Uint64())
	}
	if err := a.findReferences(ctx, r, tx); err != nil {
		return err
	}
	is := func(k ionet.Key) bool { return !r.references[k].IsZero() }
	for i, references := range chain.References(credits, tx.raw.Keys, is) {
		if len(references) != 1 {
			a.r.note("%d base units in suspense: a transfer of %s to the fee vault names %d references that were given out", credits[i].Amount, tx.signature, len(references))
			if err := a.suspend(credits[i].Amount); err != nil {
				return err
			}
			continue
		}
		if err := a.deposit(r, r.references[references[0]], credits[i].Amount, tx); err != nil {
			return err
		}
	}
	return nil
}

func (a *auditor) deposit(r *renters, renter ionet.Key, base uint64, tx *transaction) error {
	amount, err := ionet.NewAmount(base)
	if err == nil {
		r.flows.add(renter, tx.time, amount)
		a.r.Deposited, err = a.r.Deposited.Add(amount)
	}
	if err != nil {
		return fmt.Errorf("sum the deposits of %s: %w", renter, err)
	}
	a.r.Deposits++
	return nil
}

func (a *auditor) suspend(base uint64) error {
	amount, err := ionet.NewAmount(base)
	if err == nil {
		a.r.Suspense, err = a.r.Suspense.Add(amount)
	}
	if err != nil {
		return fmt.Errorf("sum what is in suspense: %w", err)
	}
	return nil
}

// findReferences looks up in the published store which addresses of a transaction are
// references; those that sign, or that the network itself names, are none.
func (a *auditor) findReferences(ctx context.Context, r *renters, tx *transaction) error {
	n := a.network
	known := []ionet.Key{n.Mint, n.Vaults.Fee, n.Vaults.Reward, chain.TokenProgram(), chain.MemoProgram(), {}}
	for _, k := range tx.raw.Keys {
		if _, asked := r.references[k]; asked || slices.Contains(known, k) || slices.Contains(tx.raw.Signers, k) {
			continue
		}
		name := publish.DepositName(k)
		file, err := a.Store.Get(ctx, name)
		if errors.Is(err, publish.ErrNotFound) {
			r.references[k] = ionet.Key{}
			continue
		}
		if err != nil {
			a.r.skip(a.during(tx), name, "published", "a deposit reference, or nothing", err)
			if err := ctx.Err(); err != nil {
				return err
			}
			continue
		}
		d, err := proofs.ParseDeposit(n.ID(), k, file)
		if err != nil {
			a.r.find(a.during(tx), name, "deposit-reference", "a file of FORMAT.md section 4", err)
		}
		r.references[k] = d.Wallet
	}
	return nil
}

// checkWithdrawal holds a withdrawal against the statement that it carries out.
func (a *auditor) checkWithdrawal(ctx context.Context, r *renters, w winner) error {
	epoch, object := a.during(w.tx), "withdrawal "+w.tx.signature
	memo, _ := proofs.ParseMemo(w.content.Memo)
	m, ok := memo.(proofs.WithdrawalMemo)
	if !ok || len(w.content.Movements) != 1 {
		a.r.find(epoch, object, "payment-memo", "one transfer and the memo of a withdrawal", fmt.Sprintf("%d transfers, memo %q", len(w.content.Movements), w.content.Memo))
		return nil
	}
	move := w.content.Movements[0]
	same(a.r, epoch, object, "payment-source", a.network.Vaults.Fee, move.Source)
	same(a.r, epoch, object, "payment-memo", move.Amount, m.Sum)
	former, paid := r.payments[m.ID]
	if paid {
		a.r.find(epoch, object, "withdrawal-twice", "one payment of each withdrawal", "another one in "+former)
	}
	r.payments[m.ID] = w.tx.signature
	name := publish.WithdrawalName(m.ID)
	file, err := a.Store.Get(ctx, name)
	if err != nil {
		a.r.skip(epoch, name, "published", "the statement that "+w.tx.signature+" pays", err)
		return ctx.Err()
	}
	s, err := proofs.ParsePublishedWithdrawal(a.network.ID(), m.ID, file)
	if err != nil {
		a.r.find(epoch, name, "withdrawal-statement", "a withdrawal that its renter signed", err)
		return nil
	}
	same(a.r, epoch, object, "withdrawal-amount", s.Amount, move.Amount)
	same(a.r, epoch, object, "withdrawal-recipient", chain.TokenAccount(s.To, a.Mint), move.Destination)
	if w.tx.time > s.Expires+withdrawalGrace {
		a.r.find(epoch, object, "withdrawal-late", fmt.Sprintf("to land by %d", s.Expires+withdrawalGrace), w.tx.time)
	}
	drawn := request{s.Renter, s.ID}
	if former, used := r.requests[drawn]; used && !paid {
		a.r.find(epoch, object, "withdrawal-twice", fmt.Sprintf("one withdrawal of %s with id %x", s.Renter, s.ID), "another one in "+former)
	}
	r.requests[drawn] = w.tx.signature
	return a.take(r, s.Renter, move.Amount, w)
}

// take notes what was withdrawn of a renter's balance.
func (a *auditor) take(r *renters, renter ionet.Key, amount ionet.Amount, w winner) error {
	r.flows.take(renter, w.tx.time, amount, "withdrawal "+w.tx.signature, a.during(w.tx))
	a.r.Withdrawals++
	var err error
	if a.r.Withdrawn, err = a.r.Withdrawn.Add(amount); err != nil {
		return fmt.Errorf("sum the withdrawals: %w", err)
	}
	return nil
}

// checkRenters holds that nobody withdrew, or reserved for a session, what he did not
// have: all that came in by then and came back of sessions, less what went out before.
func (a *auditor) checkRenters(r *renters) error {
	for _, renter := range sortedKeys(r.flows) {
		_, err := r.flows[renter].walk(func(m move, had ionet.Amount) {
			a.feeDoubt(m.epoch, m.object, "overdrawn", fmt.Sprintf("at most %s, which %s had paid in and not withdrawn or spent", had, renter), m.amount)
		})
		if err != nil {
			return fmt.Errorf("sum the balance of %s: %w", renter, err)
		}
	}
	return nil
}

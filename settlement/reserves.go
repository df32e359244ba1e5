package settlement

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// What a renter's account `withdrawing` holds is the sum of his accepted withdrawals that
// no content carries: each has its own reserve. All in this file keeps that.

// expire gives the reserves of those back whose time has passed, each in an SQL
// transaction of its own, and returns the others. One that fails stays as it is.
func (s *Service) expire(ctx context.Context, due []dueWithdrawal) (rest []dueWithdrawal, failed error) {
	now := s.now().Unix()
	for _, w := range due {
		if w.Expires > now {
			rest = append(rest, w)
			continue
		}
		err := s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
			return s.giveBack(ctx, tx, "expired", w.payment, w.Renter, w.Amount, "")
		})
		if isOverdrawn(err) {
			err = s.misbooked(ctx, w)
		}
		failed = errors.Join(failed, err)
	}
	return rest, failed
}

// giveBack ends an accepted withdrawal unpaid; its reserve goes back to the balance.
func (s *Service) giveBack(ctx context.Context, tx pgx.Tx, what string, id [16]byte, renter ionet.Key, amount ionet.Amount, reason string) error {
	tag, err := tx.Exec(ctx, endWithdrawal, id[:], string(WithdrawalExpired), reason)
	if err != nil {
		return fmt.Errorf("end withdrawal %x: %w", id, err)
	}
	if tag.RowsAffected() == 0 {
		return nil
	}
	return s.postWithdrawal(ctx, tx, what, id, ledger.Withdrawing(renter), ledger.Renter(renter), amount)
}

const endWithdrawal = `UPDATE withdrawals SET state = $2, reason = $3 WHERE id = $1 AND state = 'accepted'`

// reservedWithdrawals returns those whose reserve is in the books. Another one is our
// fault: it waits until a person has looked, and no other waits for it.
func (s *Service) reservedWithdrawals(ctx context.Context, due []dueWithdrawal) ([]dueWithdrawal, error) {
	if len(due) == 0 {
		return nil, nil
	}
	var accounts []ledger.Account
	for _, w := range due {
		accounts = append(accounts, ledger.Withdrawing(w.Renter))
	}
	left, err := ledger.Balances(ctx, s.pool, accounts...)
	if err != nil {
		return nil, fmt.Errorf("read the reserves of withdrawals: %w", err)
	}
	var reserved []dueWithdrawal
	for _, w := range due {
		account := ledger.Withdrawing(w.Renter)
		if left[account].Cmp(w.Amount) < 0 {
			if err := s.misbooked(ctx, w); err != nil {
				return nil, err
			}
			continue
		}
		if left[account], err = left[account].Sub(w.Amount); err != nil {
			return nil, err
		}
		reserved = append(reserved, w)
	}
	return reserved, nil
}

// misbooked puts a withdrawal off whose reserve the books lack.
func (s *Service) misbooked(ctx context.Context, w dueWithdrawal) error {
	s.log.Error("a withdrawal has no reserve in the books", "withdrawal", fmt.Sprintf("%x", w.payment), "renter", w.Renter.String(), "amount", w.Amount.String())
	return s.delay(ctx, w, "its reserve is not in the books: the operator has to look")
}

// importWithdrawal makes the books ready for a payment that this database never signed:
// the renter is the one of the published statement, the withdrawal is paid, and its
// amount stands where payments are taken from.
func (s *Service) importWithdrawal(ctx context.Context, tx pgx.Tx, c chain.Content) (renter ionet.Key, err error) {
	id, err := paymentOf(c.Memo)
	if err != nil {
		return renter, err
	}
	w, envelope, err := s.publishedWithdrawal(ctx, id)
	if err != nil {
		return renter, err
	}
	var state string
	err = tx.QueryRow(ctx, lockWithdrawal, id[:]).Scan(&state)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		err = s.insertWithdrawal(ctx, tx, id, w, envelope, WithdrawalPaid)
	case err == nil:
		_, err = tx.Exec(ctx, payWithdrawal, id[:])
	}
	if err != nil {
		return renter, fmt.Errorf("import withdrawal %x: %w", id, err)
	}
	if WithdrawalState(state).Open() {
		return w.Renter, nil // its own reserve is there
	}
	if err := s.reserveImported(ctx, tx, c.Hash(), w.Renter, w.Amount); err != nil {
		return renter, fmt.Errorf("import withdrawal %x: %w", id, err)
	}
	return w.Renter, nil
}

const lockWithdrawal = `SELECT state FROM withdrawals WHERE id = $1 FOR UPDATE`

const payWithdrawal = `UPDATE withdrawals SET state = 'paid', reason = '' WHERE id = $1 AND state IN ('accepted', 'expired', 'paid')`

// reserveImported takes the amount of a payment out of the renter's balance. What that
// lacks is reserved for withdrawals which the database before this one had let expire, or
// never knew: those are closed, the newest first. What is missing then was overpaid.
func (s *Service) reserveImported(ctx context.Context, tx pgx.Tx, content ionet.Hash, renter ionet.Key, amount ionet.Amount) error {
	balance, reserved := ledger.Renter(renter), ledger.Withdrawing(renter)
	left, err := ledger.Lock(ctx, tx, balance, reserved)
	if err != nil {
		return err
	}
	have := left[balance]
	if have.Cmp(amount) < 0 {
		missing, err := amount.Sub(have)
		if err != nil {
			return err
		}
		back, err := s.closeAccepted(ctx, tx, renter, missing)
		if err != nil {
			return err
		}
		if have, err = have.Add(back); err != nil {
			return err
		}
	}
	part := lesser(have, amount)
	if part.IsZero() {
		return nil
	}
	_, err = ledger.Post(ctx, tx, ledger.Entry{
		ID: entryID("withdrawal-imported", content), Kind: "withdrawal imported",
		Transfers: []ledger.Transfer{{Debit: balance, Credit: reserved, Amount: part}},
	}, s.now())
	return err
}

// closeAccepted closes accepted withdrawals of the renter that nothing carries, the
// newest first, until their reserves make up for what is missing; it returns what they
// gave back.
func (s *Service) closeAccepted(ctx context.Context, tx pgx.Tx, renter ionet.Key, missing ionet.Amount) (back ionet.Amount, err error) {
	rows, err := tx.Query(ctx, selectCarriedOf, renter[:], int16(chain.KindWithdrawal))
	if err != nil {
		return back, fmt.Errorf("load withdrawals on their way: %w", err)
	}
	carried, err := collectPaymentIDs(rows)
	if err != nil {
		return back, fmt.Errorf("load withdrawals on their way: %w", err)
	}
	if carried == nil {
		carried = [][]byte{}
	}
	rows, err = tx.Query(ctx, selectAcceptedOf, renter[:], carried)
	if err != nil {
		return back, fmt.Errorf("load withdrawals of %s: %w", renter, err)
	}
	type accepted struct {
		id     [16]byte
		amount ionet.Amount
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (accepted, error) {
		var id []byte
		var amount int64
		if err := row.Scan(&id, &amount); err != nil {
			return accepted{}, err
		}
		a, err := amountOf(amount)
		return accepted{[16]byte(id), a}, err
	})
	if err != nil {
		return back, fmt.Errorf("load withdrawals of %s: %w", renter, err)
	}
	for _, w := range list {
		if back.Cmp(missing) >= 0 {
			break
		}
		if err := s.giveBack(ctx, tx, "closed", w.id, renter, w.amount, "its reserve paid another withdrawal, which this database did not know: sign a new one"); err != nil {
			return back, err
		}
		if back, err = back.Add(w.amount); err != nil {
			return back, err
		}
		s.log.Warn("a withdrawal is closed: its reserve paid another one", "withdrawal", fmt.Sprintf("%x", w.id), "renter", renter.String(), "amount", w.amount.String())
	}
	return back, nil
}

// Those that were paid in this very SQL transaction are accepted still.
const selectCarriedOf = `
SELECT c.bytes FROM payments p JOIN contents c ON c.hash = p.content WHERE p.payee = $1 AND p.kind = $2 AND p.state IN ('signed', 'paid')`

const selectAcceptedOf = `
SELECT id, amount FROM withdrawals WHERE renter = $1 AND state = 'accepted' AND NOT id = ANY ($2::bytea[])
ORDER BY created_at DESC, id FOR UPDATE`

// applyWithdrawal ends a withdrawal whose content won.
func (s *Service) applyWithdrawal(ctx context.Context, tx pgx.Tx, r *resolved) error {
	id, err := paymentOf(r.content.Memo)
	if err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, payWithdrawal, id[:])
	if err == nil && tag.RowsAffected() == 0 {
		err = errors.New("it is not known")
	}
	if err != nil {
		return fmt.Errorf("end withdrawal %x: %w", id, err)
	}
	return nil
}

// unpayableWithdrawals tells which of the contents pay withdrawals whose time has passed,
// or that are put off: those are not signed again, and an empty content passes them.
func (s *Service) unpayableWithdrawals(ctx context.Context, list []openDebt) (map[ionet.Hash]bool, error) {
	unpayable := map[ionet.Hash]bool{}
	for _, d := range list {
		if d.content.Kind != chain.KindWithdrawal {
			continue
		}
		id, err := paymentOf(d.content.Memo)
		if err != nil {
			return nil, err
		}
		now := s.now()
		var is bool
		if err := s.pool.QueryRow(ctx, selectUnpayable, id[:], now.Unix(), now).Scan(&is); err != nil {
			return nil, fmt.Errorf("look for withdrawal %x: %w", id, err)
		}
		if is {
			unpayable[d.content.Hash()] = true
		}
	}
	return unpayable, nil
}

const selectUnpayable = `SELECT expires <= $2 OR retry_at > $3 FROM withdrawals WHERE id = $1`

package settlement

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// dueWithdrawal is a withdrawal that no content carries.
type dueWithdrawal struct {
	proofs.Withdrawal
	payment  [16]byte
	envelope []byte
}

// withdrawDue lets those expire whose time has passed, and signs the others on lanes
// of the pool: each in a content of its own, because a memo names one. Payouts keep
// half of the lanes.
func (s *Service) withdrawDue(ctx context.Context, pool *lanePool) error {
	if len(pool.free) == 0 {
		return nil
	}
	due, err := s.dueWithdrawals(ctx, len(pool.free))
	if err != nil || len(due) == 0 {
		return err
	}
	due, err = s.expire(ctx, due)
	if err != nil {
		return err
	}
	due, err = s.payableWithdrawals(ctx, due)
	if err != nil {
		return err
	}
	var drafts []draft
	for _, w := range due[:min(len(due), (len(pool.free)+1)/2)] {
		// Who audits the content finds why it paid, and an older copy of this database
		// whom it paid.
		if err := s.publishWithdrawal(ctx, w); err != nil {
			return err
		}
		l, ok := pool.take()
		if !ok {
			break
		}
		drafts = append(drafts, s.withdrawalDraft(l, w))
	}
	return s.launchAll(ctx, drafts)
}

func (s *Service) withdrawalDraft(l lane, w dueWithdrawal) draft {
	n := s.cfg.Network
	account := chain.TokenAccount(w.To, n.Mint)
	return draft{
		kind: chain.KindWithdrawal, lanes: []lane{l}, memo: proofs.WithdrawalMemo{ID: w.payment, Sum: w.Amount}.String(),
		movements: []chain.Movement{{Op: chain.Transfer, Source: n.Vaults.Fee, Destination: account, Amount: w.Amount}},
		payments:  []payment{{w.Renter, account, w.Amount}},
	}
}

// dueWithdrawals loads the oldest that are accepted and on no content whose outcome is
// open, and may be tried now.
func (s *Service) dueWithdrawals(ctx context.Context, lanes int) ([]dueWithdrawal, error) {
	flying, err := s.flyingWithdrawals(ctx)
	if err != nil {
		return nil, err
	}
	ids := make([][]byte, 0, len(flying))
	for id := range flying {
		ids = append(ids, id[:])
	}
	rows, err := s.pool.Query(ctx, selectDueWithdrawals, ids, s.now(), 2*lanes+8)
	if err != nil {
		return nil, fmt.Errorf("load withdrawals: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (dueWithdrawal, error) {
		var w dueWithdrawal
		var id []byte
		if err := row.Scan(&id, &w.envelope); err != nil {
			return w, err
		}
		w.payment = [16]byte(id)
		var err error
		w.Withdrawal, err = proofs.ParsePublishedWithdrawal(s.cfg.Network.ID(), w.payment, w.envelope)
		return w, err
	})
	if err != nil {
		return nil, fmt.Errorf("load withdrawals: %w", err)
	}
	return list, nil
}

const selectDueWithdrawals = `
SELECT w.id, w.envelope FROM withdrawals w
WHERE w.state = 'accepted' AND w.retry_at <= $2 AND NOT w.id = ANY ($1::bytea[])
  AND NOT EXISTS (SELECT 1 FROM held_payees h WHERE h.payee = w.renter AND h.retry_at > $2)
ORDER BY w.created_at, w.id LIMIT $3`

// flyingWithdrawals returns those that contents of open positions carry.
func (s *Service) flyingWithdrawals(ctx context.Context) (map[[16]byte]bool, error) {
	rows, err := s.pool.Query(ctx, selectFlyingWithdrawals, int16(chain.KindWithdrawal))
	if err != nil {
		return nil, fmt.Errorf("load withdrawals on their way: %w", err)
	}
	flying := map[[16]byte]bool{}
	var data []byte
	_, err = pgx.ForEachRow(rows, []any{&data}, func() error {
		c, err := chain.ParseContent(data)
		if err != nil {
			return err
		}
		id, err := paymentOf(c)
		flying[id] = true
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("load withdrawals on their way: %w", err)
	}
	return flying, nil
}

const selectFlyingWithdrawals = `
SELECT c.bytes FROM payments p JOIN contents c ON c.hash = p.content WHERE p.kind = $1 AND p.state = 'signed'`

// paymentOf returns which withdrawal a content pays.
func paymentOf(c chain.Content) ([16]byte, error) {
	memo, err := proofs.ParseMemo(c.Memo)
	if err != nil {
		return [16]byte{}, err
	}
	m, ok := memo.(proofs.WithdrawalMemo)
	if !ok {
		return [16]byte{}, fmt.Errorf("memo %q is not that of a withdrawal", c.Memo)
	}
	return m.ID, nil
}

// expire gives the reserve of those back whose time has passed, and returns the others.
func (s *Service) expire(ctx context.Context, due []dueWithdrawal) ([]dueWithdrawal, error) {
	now := s.now().Unix()
	var rest, late []dueWithdrawal
	for _, w := range due {
		if w.Expires <= now {
			late = append(late, w)
		} else {
			rest = append(rest, w)
		}
	}
	if len(late) == 0 {
		return rest, nil
	}
	err := s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
		for _, w := range late {
			tag, err := tx.Exec(ctx, endWithdrawal, w.payment[:], string(WithdrawalExpired))
			if err != nil {
				return fmt.Errorf("expire withdrawal %x: %w", w.payment, err)
			}
			if tag.RowsAffected() == 0 {
				continue
			}
			if err := s.postWithdrawal(ctx, tx, "expired", w.payment, ledger.Withdrawing(w.Renter), ledger.Renter(w.Renter), w.Amount); err != nil {
				return err
			}
		}
		return nil
	})
	return rest, err
}

const endWithdrawal = `UPDATE withdrawals SET state = $2, reason = '' WHERE id = $1 AND state = 'accepted'`

// payableWithdrawals looks at the recipients' token accounts; what can't be paid now
// keeps its reserve, says why, and is tried again later.
func (s *Service) payableWithdrawals(ctx context.Context, due []dueWithdrawal) ([]dueWithdrawal, error) {
	if len(due) == 0 {
		return nil, nil
	}
	to := make([]payment, len(due))
	for i, w := range due {
		to[i] = payment{w.To, chain.TokenAccount(w.To, s.cfg.Network.Mint), w.Amount}
	}
	accounts, err := s.payeeAccounts(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("read the recipients' accounts: %w", err)
	}
	var payable []dueWithdrawal
	for i, w := range due {
		reason := s.whyUnpayable(to[i], accounts[i])
		if reason == "" {
			payable = append(payable, w)
			continue
		}
		err := s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
			_, err := tx.Exec(ctx, delayWithdrawal, w.payment[:], reason, s.now().Add(s.cfg.HeldRetry))
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("delay withdrawal %x: %w", w.payment, err)
		}
		s.emit(Event{Kind: EventHeld, Payee: w.Renter, Detail: reason})
	}
	return payable, nil
}

const delayWithdrawal = `UPDATE withdrawals SET reason = $2, retry_at = $3 WHERE id = $1 AND state = 'accepted'`

// publishWithdrawal makes the statement durable in the published store. Another valid
// signature over the same statement may lie there: that is the same statement.
func (s *Service) publishWithdrawal(ctx context.Context, w dueWithdrawal) error {
	name := publish.WithdrawalName(w.payment)
	there, err := s.cfg.Store.Get(ctx, name)
	if err == nil {
		if _, err := proofs.ParsePublishedWithdrawal(s.cfg.Network.ID(), w.payment, there); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	if !errors.Is(err, publish.ErrNotFound) {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if err := s.cfg.Store.Put(ctx, name, w.envelope); err != nil {
		return fmt.Errorf("publish withdrawal %x: %w", w.payment, err)
	}
	return nil
}

// importWithdrawal makes the books ready for a payment that this database never signed:
// the renter is the one of the published statement, and its amount is reserved, unless
// it was when the database knew the withdrawal as accepted.
func (s *Service) importWithdrawal(ctx context.Context, tx pgx.Tx, c chain.Content) (renter ionet.Key, err error) {
	id, err := paymentOf(c)
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
		err = s.insertWithdrawal(ctx, tx, id, w, envelope, WithdrawalAccepted)
	case err == nil && WithdrawalState(state) == WithdrawalAccepted:
		return w.Renter, nil
	case err == nil:
		_, err = tx.Exec(ctx, reopenWithdrawal, id[:])
	}
	if err != nil {
		return renter, fmt.Errorf("import withdrawal %x: %w", id, err)
	}
	balances, err := ledger.Lock(ctx, tx, ledger.Renter(w.Renter), ledger.Withdrawing(w.Renter))
	if err != nil || balances[ledger.Renter(w.Renter)].Cmp(w.Amount) < 0 {
		return w.Renter, err // what is missing was overpaid
	}
	return w.Renter, s.postWithdrawal(ctx, tx, "imported", id, ledger.Renter(w.Renter), ledger.Withdrawing(w.Renter), w.Amount)
}

const lockWithdrawal = `SELECT state FROM withdrawals WHERE id = $1 FOR UPDATE`

const reopenWithdrawal = `UPDATE withdrawals SET state = 'accepted' WHERE id = $1`

// applyWithdrawal ends a withdrawal whose content won.
func (s *Service) applyWithdrawal(ctx context.Context, tx pgx.Tx, r *resolved) error {
	id, err := paymentOf(r.content)
	if err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, endWithdrawal, id[:], string(WithdrawalPaid))
	if err == nil && tag.RowsAffected() == 0 {
		err = errors.New("it is not one that was accepted")
	}
	if err != nil {
		return fmt.Errorf("end withdrawal %x: %w", id, err)
	}
	return nil
}

// lateWithdrawals tells which of the contents pay withdrawals whose time has passed:
// those are not signed again, and an empty content passes them.
func (s *Service) lateWithdrawals(ctx context.Context, list []openDebt) (map[ionet.Hash]bool, error) {
	late := map[ionet.Hash]bool{}
	for _, d := range list {
		if d.content.Kind != chain.KindWithdrawal {
			continue
		}
		id, err := paymentOf(d.content)
		if err != nil {
			return nil, err
		}
		var expires int64
		if err := s.pool.QueryRow(ctx, selectExpires, id[:]).Scan(&expires); err != nil {
			return nil, fmt.Errorf("look for withdrawal %x: %w", id, err)
		}
		if expires <= s.now().Unix() {
			late[d.content.Hash()] = true
		}
	}
	return late, nil
}

const selectExpires = `SELECT expires FROM withdrawals WHERE id = $1`

// publishedWithdrawal reads the statement that a payment names.
func (s *Service) publishedWithdrawal(ctx context.Context, id [16]byte) (proofs.Withdrawal, []byte, error) {
	name := publish.WithdrawalName(id)
	file, err := s.cfg.Store.Get(ctx, name)
	if errors.Is(err, publish.ErrNotFound) {
		return proofs.Withdrawal{}, nil, fmt.Errorf("the published store lacks %s, a withdrawal that the chain has paid: put that file back from a copy of the store: %w", name, err)
	}
	if err != nil {
		return proofs.Withdrawal{}, nil, fmt.Errorf("read %s: %w", name, err)
	}
	w, err := proofs.ParsePublishedWithdrawal(s.cfg.Network.ID(), id, file)
	if err != nil {
		return w, nil, fmt.Errorf("%s: %w: put that file back from a copy of the store", name, err)
	}
	return w, file, nil
}

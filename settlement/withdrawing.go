package settlement

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// dueWithdrawal is a withdrawal that no content carries.
type dueWithdrawal struct {
	proofs.Withdrawal
	payment  [16]byte
	envelope []byte
}

// withdrawDue lets those expire whose time has passed, room or not, and signs the others on their
// share of the pool: each in a content of its own, because a memo names one. One that
// something is wrong with stops no other.
func (s *Service) withdrawDue(ctx context.Context, pool *lanePool) error {
	room := pool.forWithdrawals()
	if room > 0 {
		if err := s.liftWithdrawals(ctx); err != nil {
			return err
		}
	}
	due, err := s.dueWithdrawals(ctx, room)
	if err != nil || len(due) == 0 {
		return err
	}
	due, failed := s.expire(ctx, due) // which takes no lane
	if room == 0 {
		return failed
	}
	if err := s.signers.resting(chain.KindWithdrawal); err != nil {
		return errors.Join(failed, err) // the lanes are left to others
	}
	due, err = s.reservedWithdrawals(ctx, due)
	if err != nil {
		return errors.Join(failed, err)
	}
	due, err = s.recordedWithdrawals(ctx, due)
	if err != nil {
		return errors.Join(failed, err)
	}
	due, err = s.payableWithdrawals(ctx, due)
	if err != nil {
		return errors.Join(failed, err)
	}
	var drafts []draft
	for _, w := range due {
		if len(drafts) == room {
			break
		}
		// Who audits the content finds why it paid, and an older copy of this database
		// whom it paid.
		if err := s.publishWithdrawal(ctx, w); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		l, ok := pool.take()
		if !ok {
			break
		}
		drafts = append(drafts, s.withdrawalDraft(l, w))
	}
	return errors.Join(failed, s.launchAll(ctx, drafts))
}

// recordedWithdrawals returns those whose reserve a published checkpoint explains. What a
// session gave back to its renter is a record of the receipt log; a database that is put back must
// have it again, or the session would give it back anew after it was withdrawn.
func (s *Service) recordedWithdrawals(ctx context.Context, due []dueWithdrawal) ([]dueWithdrawal, error) {
	if len(due) == 0 {
		return nil, nil
	}
	var size int64
	if err := s.pool.QueryRow(ctx, selectLogSize).Scan(&size); err != nil {
		return nil, fmt.Errorf("read the size of the receipt log: %w", err)
	}
	seen := reserves{instance: s.Instance(), at: make(map[[16]byte]uint64, len(due))}
	var list []dueWithdrawal
	for _, w := range due {
		at, known := s.reserves.at[w.payment]
		if !known || s.reserves.instance != seen.instance {
			at = uint64(size)
		}
		seen.at[w.payment] = at
		ready, err := s.recorded(ctx, at)
		if err != nil {
			return nil, err
		}
		if ready {
			list = append(list, w)
		}
	}
	s.reserves = seen
	return list, nil
}

// reserves is how long the receipt log was when withdrawals that wait were first seen.
type reserves struct {
	instance [16]byte // another one after the database was put back
	at       map[[16]byte]uint64
}

const selectLogSize = `SELECT size FROM log_head`

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
// open, and may be tried now; those that are over come first.
func (s *Service) dueWithdrawals(ctx context.Context, lanes int) ([]dueWithdrawal, error) {
	flying, err := s.flyingWithdrawals(ctx)
	if err != nil {
		return nil, err
	}
	if flying == nil {
		flying = [][]byte{}
	}
	now := s.now()
	rows, err := s.pool.Query(ctx, selectDueWithdrawals, flying, now, 2*lanes+8, now.Unix())
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
ORDER BY w.expires > $4, w.created_at, w.id LIMIT $3`

// flyingWithdrawals returns those that contents of open positions carry.
func (s *Service) flyingWithdrawals(ctx context.Context) ([][]byte, error) {
	rows, err := s.pool.Query(ctx, selectFlyingWithdrawals, int16(chain.KindWithdrawal))
	if err != nil {
		return nil, fmt.Errorf("load withdrawals on their way: %w", err)
	}
	flying, err := collectPaymentIDs(rows)
	if err != nil {
		return nil, fmt.Errorf("load withdrawals on their way: %w", err)
	}
	return flying, nil
}

const selectFlyingWithdrawals = `
SELECT c.bytes FROM payments p JOIN contents c ON c.hash = p.content WHERE p.kind = $1 AND p.state = 'signed'`

// collectPaymentIDs reads contents and returns which withdrawals they pay.
func collectPaymentIDs(rows pgx.Rows) (ids [][]byte, err error) {
	var data []byte
	_, err = pgx.ForEachRow(rows, []any{&data}, func() error {
		c, err := chain.ParseContent(data)
		if err != nil {
			return err
		}
		id, err := paymentOf(c.Memo)
		ids = append(ids, id[:])
		return err
	})
	return ids, err
}

// paymentOf returns which withdrawal the content of that memo pays.
func paymentOf(text string) ([16]byte, error) {
	memo, err := proofs.ParseMemo(text)
	if err != nil {
		return [16]byte{}, err
	}
	m, ok := memo.(proofs.WithdrawalMemo)
	if !ok {
		return [16]byte{}, fmt.Errorf("memo %q is not that of a withdrawal", text)
	}
	return m.ID, nil
}

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
		if err := s.delay(ctx, w, reason); err != nil {
			return nil, err
		}
	}
	return payable, nil
}

// delay leaves a withdrawal for a while, until it expires at most, and says why.
func (s *Service) delay(ctx context.Context, w dueWithdrawal, reason string) error {
	err := s.asLeader(ctx, func(tx pgx.Tx, _ int64) error { return s.delayIn(ctx, tx, w.payment, reason) })
	if err != nil {
		return err
	}
	s.emit(Event{Kind: EventHeld, Payee: w.Renter, Detail: reason})
	return nil
}

func (s *Service) delayIn(ctx context.Context, tx pgx.Tx, id [16]byte, reason string) error {
	now := s.now()
	if _, err := tx.Exec(ctx, delayWithdrawal, id[:], reason, now.Add(s.cfg.HeldRetry), now.Unix()); err != nil {
		return fmt.Errorf("delay withdrawal %x: %w", id, err)
	}
	return nil
}

// One that is over and could not be given back is left for the whole while.
const delayWithdrawal = `
UPDATE withdrawals SET reason = $2, retry_at = CASE WHEN expires > $4::bigint THEN least($3::timestamptz, to_timestamp(expires)) ELSE $3 END
WHERE id = $1 AND state = 'accepted'`

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

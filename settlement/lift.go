package settlement

import (
	"bytes"
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// accountHold begins the reason of a hold that a look at the payee's token account
// can end. What a simulation or a node refused is looked at when its time has come.
const accountHold = "token account: "

// maxLift is how many held payees a pass looks at again, in calls of 100 accounts.
const maxLift = 300

// liftHeld looks again at payees who are held for their token accounts, some in each
// pass, and lifts the holds of those whose account is fine now: whoever opened his
// account is paid by the next run, not by the one after the hold's time.
func (s *Service) liftHeld(ctx context.Context) error {
	list, err := s.heldForAccount(ctx)
	if err != nil || len(list) == 0 {
		return err
	}
	accounts, err := s.payeeAccounts(ctx, list)
	if err != nil {
		return fmt.Errorf("read held payees' accounts: %w", err)
	}
	var fine [][]byte
	for i, p := range list {
		if s.whyUnpayable(p, accounts[i]) == "" {
			fine = append(fine, p.payee[:])
		}
	}
	if len(fine) == 0 {
		return nil
	}
	return s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
		if _, err := tx.Exec(ctx, deleteHeld, fine); err != nil {
			return fmt.Errorf("lift holds: %w", err)
		}
		return nil
	})
}

const deleteHeld = `DELETE FROM held_payees WHERE payee = ANY ($1::bytea[])`

// heldForAccount returns the next of those who are held for their accounts, and begins
// anew behind the last.
func (s *Service) heldForAccount(ctx context.Context) ([]payment, error) {
	rows, err := s.pool.Query(ctx, selectHeldAccounts, s.now(), accountHold, s.lifted[:], maxLift)
	if err != nil {
		return nil, fmt.Errorf("load held payees: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p payment, err error) {
		var payee []byte
		err = row.Scan(&payee)
		copy(p.payee[:], payee)
		p.account = chain.TokenAccount(p.payee, s.cfg.Network.Mint)
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("load held payees: %w", err)
	}
	s.lifted = ionet.Key{}
	if len(list) == maxLift {
		s.lifted = list[len(list)-1].payee
	}
	return list, nil
}

const selectHeldAccounts = `
SELECT payee FROM held_payees WHERE retry_at > $1 AND starts_with(reason, $2) AND payee > $3::bytea ORDER BY payee LIMIT $4`

// liftWithdrawals looks again at withdrawals that wait for their recipients' token
// accounts, a call's worth in each pass, and lets this pass pay those whose account is
// fine now.
func (s *Service) liftWithdrawals(ctx context.Context) error {
	ids, list, err := s.delayedForAccount(ctx)
	if err != nil || len(list) == 0 {
		return err
	}
	accounts, err := s.payeeAccounts(ctx, list)
	if err != nil {
		return fmt.Errorf("read waiting recipients' accounts: %w", err)
	}
	var fine [][]byte
	for i, p := range list {
		if s.whyUnpayable(p, accounts[i]) == "" {
			fine = append(fine, ids[i])
		}
	}
	if len(fine) == 0 {
		return nil
	}
	return s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
		if _, err := tx.Exec(ctx, liftDelayed, fine, s.now()); err != nil {
			return fmt.Errorf("lift withdrawals: %w", err)
		}
		return nil
	})
}

const liftDelayed = `UPDATE withdrawals SET reason = '', retry_at = least(retry_at, $2) WHERE id = ANY ($1::bytea[]) AND state = 'accepted'`

// delayedForAccount returns the next of those withdrawals, and begins anew behind the
// last.
func (s *Service) delayedForAccount(ctx context.Context) (ids [][]byte, list []payment, err error) {
	now := s.now()
	rows, err := s.pool.Query(ctx, selectDelayedForAccount, now, accountHold, s.undelayed[:], maxLiftWithdrawals, now.Unix())
	if err != nil {
		return nil, nil, fmt.Errorf("load withdrawals that wait for an account: %w", err)
	}
	var id, to []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &to}, func() error {
		var p payment
		copy(p.payee[:], to)
		p.account = chain.TokenAccount(p.payee, s.cfg.Network.Mint)
		ids, list = append(ids, bytes.Clone(id)), append(list, p)
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("load withdrawals that wait for an account: %w", err)
	}
	s.undelayed = [16]byte{}
	if len(ids) == maxLiftWithdrawals {
		s.undelayed = [16]byte(ids[len(ids)-1])
	}
	return ids, list, nil
}

// maxLiftWithdrawals is a single call of 100 accounts: unlike runs, passes that look at
// withdrawals never end.
const maxLiftWithdrawals = 100

const selectDelayedForAccount = `
SELECT id, recipient FROM withdrawals
WHERE state = 'accepted' AND retry_at > $1 AND starts_with(reason, $2) AND id > $3::bytea AND expires > $5
ORDER BY id LIMIT $4`

// liftPaid ends the holds of those whom a claim or a payout of the winners has paid:
// nothing stands in the way of the next one.
func liftPaid(ctx context.Context, tx pgx.Tx, done []*resolved) error {
	var winners [][]byte
	for _, r := range done {
		if k := r.content.Kind; k == chain.KindClaim || k == chain.KindPayout || k == chain.KindFees {
			winners = append(winners, r.hash[:])
		}
	}
	if len(winners) == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, deleteHeldPaid, winners); err != nil {
		return fmt.Errorf("lift holds: %w", err)
	}
	return nil
}

const deleteHeldPaid = `
DELETE FROM held_payees h USING payments p
WHERE p.content = ANY ($1::bytea[]) AND p.state = 'paid' AND h.payee = p.payee`

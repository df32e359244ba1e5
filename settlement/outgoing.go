package settlement

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// OutgoingState says where a content that we signed stands.
type OutgoingState string

// States of an outgoing content.
const (
	OutgoingSigned     OutgoingState = "signed"     // a transaction of it lives
	OutgoingOffered    OutgoingState = "offered"    // one lives that lacks its wallet's signature
	OutgoingDead       OutgoingState = "dead"       // all of its transactions are; it is signed again, or passed
	OutgoingPaid       OutgoingState = "paid"       // it won its position, finally
	OutgoingSuperseded OutgoingState = "superseded" // another content did; its debts stand as before
)

// Outgoing is what we signed for a position of a lane, in one transaction or in
// several of which one lands.
type Outgoing struct {
	Kind      chain.Kind
	Lane      string
	Position  uint64
	State     OutgoingState
	Payees    int
	Amount    ionet.Amount // to all of them
	Since     time.Time    // it was first signed
	Attempts  int          // transactions of it that were signed; 0 where another instance's was found on chain
	Signature chain.Signature
	Slot      uint64 // in which it landed; 0 where it has not, or nobody tells
	Reason    string // why a node refused its last transaction; "" where none did
}

// Run is a payout run that was asked for.
type Run struct {
	ID    [16]byte
	Asked time.Time
	Ended time.Time // zero while it is open
}

// Payouts is what goes out and what waits, for an operator.
type Payouts struct {
	Minimum     ionet.Amount // what a payee must be owed to be paid by a run, by the policy in force
	Waiting     int          // payees who are owed that much of emissions
	Due         ionet.Amount // to them
	WaitingFees int          // payees who are owed that much of fees
	DueFees     ionet.Amount // to them
	Runs        []Run        // the newest first
	Held        []HeldPayee  // payees that runs leave out for now, at most 1000
	Outgoing    []Outgoing   // what is open, then what ended, the newest first

	Withdrawals []WaitingWithdrawal // accepted and on no transaction yet, the oldest first, at most 1000
}

// WaitingWithdrawal is one that is to be paid and that no transaction carries.
type WaitingWithdrawal struct {
	Payment [16]byte // what the payment's memo names
	Renter  ionet.Key
	To      ionet.Key
	Amount  ionet.Amount
	Since   time.Time
	Expires time.Time
	RetryAt time.Time // when it is tried next
	Reason  string    // why it was not paid yet; "" where nothing is in its way
}

// Payouts reads it, with the newest limit contents that carry payments and all of
// those that are open. Any program with access to the database can ask.
func (s *Service) Payouts(ctx context.Context, limit int) (Payouts, error) {
	var p Payouts
	minimum, err := s.payoutMinimum(ctx)
	if err != nil {
		return p, err
	}
	if p.Minimum, err = ionet.NewAmount(uint64(minimum)); err != nil {
		return p, err
	}
	var due, fees int64
	if err := s.front.QueryRow(ctx, selectWaiting, minimum).Scan(&p.Waiting, &due, &p.WaitingFees, &fees); err != nil {
		return p, fmt.Errorf("count the payees that wait: %w", err)
	}
	if p.Due, err = ionet.NewAmount(uint64(due)); err != nil {
		return p, err
	}
	if p.DueFees, err = ionet.NewAmount(uint64(fees)); err != nil {
		return p, err
	}
	var runs, held, outgoing error
	p.Runs, runs = s.runs(ctx)
	p.Held, held = s.held(ctx)
	p.Outgoing, outgoing = s.outgoing(ctx, limit)
	p.Withdrawals, err = s.waitingWithdrawals(ctx)
	return p, errors.Join(runs, held, outgoing, err)
}

func (s *Service) waitingWithdrawals(ctx context.Context) ([]WaitingWithdrawal, error) {
	flying, err := s.flyingWithdrawals(ctx)
	if err != nil {
		return nil, err
	}
	if flying == nil {
		flying = [][]byte{}
	}
	rows, err := s.front.Query(ctx, selectWaitingWithdrawals, flying)
	if err != nil {
		return nil, fmt.Errorf("load withdrawals that wait: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (w WaitingWithdrawal, err error) {
		var id, renter, to []byte
		var amount, expires int64
		if err := row.Scan(&id, &renter, &to, &amount, &w.Since, &expires, &w.RetryAt, &w.Reason); err != nil {
			return w, err
		}
		copy(w.Payment[:], id)
		copy(w.Renter[:], renter)
		copy(w.To[:], to)
		w.Expires = time.Unix(expires, 0)
		w.Amount, err = ionet.NewAmount(uint64(amount))
		return w, err
	})
	if err != nil {
		return nil, fmt.Errorf("load withdrawals that wait: %w", err)
	}
	return list, nil
}

const selectWaitingWithdrawals = `
SELECT id, renter, recipient, amount, created_at, expires, retry_at, reason FROM withdrawals
WHERE state = 'accepted' AND NOT id = ANY ($1::bytea[]) ORDER BY created_at, id LIMIT 1000`

const selectWaiting = `
SELECT o.n, o.sum, f.n, f.sum
FROM (SELECT count(*) AS n, coalesce(sum(balance), 0)::bigint AS sum FROM ledger_balances WHERE starts_with(account, 'owed:') AND balance >= $1) o,
    (SELECT count(*) AS n, coalesce(sum(balance), 0)::bigint AS sum FROM ledger_balances WHERE starts_with(account, 'fees:') AND balance >= $1) f`

func (s *Service) runs(ctx context.Context) ([]Run, error) {
	rows, err := s.front.Query(ctx, selectRuns)
	if err != nil {
		return nil, fmt.Errorf("load payout runs: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Run, error) {
		var r Run
		var id []byte
		var ended *time.Time
		err := row.Scan(&id, &r.Asked, &ended)
		copy(r.ID[:], id)
		if ended != nil {
			r.Ended = *ended
		}
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("load payout runs: %w", err)
	}
	return list, nil
}

const selectRuns = `SELECT id, asked_at, done_at FROM payout_runs ORDER BY asked_at DESC, id LIMIT 5`

// outgoing returns the open contents and the newest that carry payments.
func (s *Service) outgoing(ctx context.Context, limit int) ([]Outgoing, error) {
	rows, err := s.front.Query(ctx, selectOutgoing, limit)
	if err != nil {
		return nil, fmt.Errorf("load what goes out: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanOutgoing)
	if err != nil {
		return nil, fmt.Errorf("load what goes out: %w", err)
	}
	return list, nil
}

// A payout carries 57 payments at most, so that many of the newest hold the newest
// contents wanted.
const selectOutgoing = `
WITH chosen AS (
    SELECT c.hash FROM lanes l JOIN contents c ON c.lane = l.name AND c.position = l.position AND c.state = 'open'
    UNION
    (SELECT r.content FROM (SELECT content, created_at FROM payments ORDER BY created_at DESC, id DESC LIMIT 57 * $1::int) r
     GROUP BY r.content ORDER BY max(r.created_at) DESC, r.content LIMIT $1))
SELECT c.kind, c.lane, c.position, c.state, coalesce(a.live, false), coalesce(a.signed, false), p.n, p.sum,
    coalesce(least(a.first, p.first), 'epoch'::timestamptz), coalesce(a.n, 0), coalesce(c.signature, a.signature, ''::bytea), coalesce(c.slot, 0), coalesce(a.reason, '')
FROM chosen JOIN contents c USING (hash)
LEFT JOIN LATERAL (
    SELECT count(*) AS n, bool_or(a.state = 'live') AS live, bool_or(a.state = 'live' AND NOT a.offered) AS signed, min(a.created_at) AS first,
        (array_agg(a.signature ORDER BY a.created_at DESC))[1] AS signature, (array_agg(a.reason ORDER BY a.created_at DESC))[1] AS reason
    FROM attempt_steps t JOIN attempts a ON a.message = t.message WHERE t.content = c.hash) a ON true
CROSS JOIN LATERAL (
    SELECT count(*) AS n, coalesce(sum(p.amount), 0)::bigint AS sum, min(p.created_at) AS first FROM payments p WHERE p.content = c.hash) p
ORDER BY c.state <> 'open', least(a.first, p.first) DESC, c.lane, c.position`

func scanOutgoing(row pgx.CollectableRow) (Outgoing, error) {
	var o Outgoing
	var kind int16
	var position, amount, slot int64
	var state ContentState
	var live, signed bool
	var signature []byte
	err := row.Scan(&kind, &o.Lane, &position, &state, &live, &signed, &o.Payees, &amount, &o.Since, &o.Attempts, &signature, &slot, &o.Reason)
	if err != nil {
		return o, err
	}
	o.Kind, o.Position, o.Slot, o.State = chain.Kind(kind), uint64(position), uint64(slot), outgoingState(state, live, signed)
	if len(signature) == len(o.Signature) {
		o.Signature = chain.Signature(signature)
	}
	o.Amount, err = ionet.NewAmount(uint64(amount))
	return o, err
}

func outgoingState(content ContentState, live, signed bool) OutgoingState {
	switch {
	case content == ContentWon:
		return OutgoingPaid
	case content == ContentLost:
		return OutgoingSuperseded
	case signed:
		return OutgoingSigned
	case live:
		return OutgoingOffered
	}
	return OutgoingDead
}

// held returns the payees that runs leave out for now, with what they are owed.
func (s *Service) held(ctx context.Context) ([]HeldPayee, error) {
	rows, err := s.front.Query(ctx, selectAllHeld, s.now())
	if err != nil {
		return nil, fmt.Errorf("load held payees: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (HeldPayee, error) {
		var payee []byte
		var h HeldPayee
		var owed, fees int64
		err := row.Scan(&payee, &h.Reason, &h.RetryAt, &owed, &fees)
		copy(h.Payee[:], payee)
		if err == nil {
			h.Owed, err = ionet.NewAmount(uint64(owed))
		}
		if err == nil {
			h.Fees, err = ionet.NewAmount(uint64(fees))
		}
		return h, err
	})
	if err != nil {
		return nil, fmt.Errorf("load held payees: %w", err)
	}
	return list, nil
}

const selectAllHeld = `
SELECT h.payee, h.reason, h.retry_at, coalesce(b.balance, 0), coalesce(f.balance, 0)
FROM held_payees h LEFT JOIN ledger_balances b ON b.account = h.owed LEFT JOIN ledger_balances f ON f.account = 'fees:' || substr(h.owed, 6)
WHERE h.retry_at > $1 ORDER BY h.payee LIMIT 1000`

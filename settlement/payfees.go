package settlement

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// feeDebts is what payees were owed of fees at one moment, and how long the receipt log
// was then. A payout run pays each amount of it once, and only when a published
// checkpoint covers the log of that moment: a database that is put back has those
// receipts again, and so what the payments are booked against. Money that left for a
// receipt that is lost would be owed anew when its worker hands it in again.
//
// So the fees that come in while a run pays are the next run's, and a run ends. All of it
// is memory: whoever has none looks again.
type feeDebts struct {
	lease    int64
	instance [16]byte // another one after the database was put back
	size     uint64   // of the log
	taken    time.Time
	whole    bool      // nobody who is owed enough was left out
	due      []payment // the largest first, without those that a stored content carries
}

// maxFeeDebts bounds how many payees one look takes.
const maxFeeDebts = 100_000

// dueFees returns payees whose fees a run that was asked for at asked has yet to pay, the
// largest first, at most limit; ready is false while a checkpoint that covers them is being
// published. None: the run has paid all fees.
func (s *Service) dueFees(ctx context.Context, now, asked time.Time, limit int) (due []payment, ready bool, err error) {
	f := &s.fees
	if f.lease == s.leaseNumber() && f.instance == s.Instance() {
		if due, err = s.nextFees(ctx, now, limit); err != nil {
			return nil, false, err
		}
		if len(due) == 0 && f.whole && !f.taken.Before(asked) {
			return nil, true, nil
		}
	}
	if len(due) == 0 {
		if s.fees, err = s.lookAtFees(ctx, now); err != nil || len(f.due) == 0 {
			return nil, true, err
		}
		due = f.due[:min(limit, len(f.due))]
	}
	ready, err = s.recorded(ctx, f.size)
	return due, ready, err
}

// nextFees returns the next of the debts that were looked at, and drops those of payees
// who were held since.
func (s *Service) nextFees(ctx context.Context, now time.Time, limit int) ([]payment, error) {
	for f := &s.fees; len(f.due) > 0; {
		n := min(limit, len(f.due))
		due, err := s.notHeld(ctx, f.due[:n:n], now)
		if err != nil {
			return nil, err
		}
		if len(due) < n {
			f.due = append(slices.Clone(due), f.due[n:]...)
		}
		if len(due) > 0 {
			return due, nil
		}
	}
	return nil, nil
}

// lookAtFees reads who is owed the payout minimum of fees, and is not held, together with
// the size of the log: one statement, and so one state of the database.
func (s *Service) lookAtFees(ctx context.Context, now time.Time) (feeDebts, error) {
	f := feeDebts{lease: s.leaseNumber(), instance: s.Instance(), taken: now, whole: true}
	minimum, err := s.payoutMinimum(ctx)
	if err != nil {
		return f, err
	}
	rows, err := s.pool.Query(ctx, selectDueFees, minimum, maxFeeDebts, now)
	if err != nil {
		return f, fmt.Errorf("load payees of fees: %w", err)
	}
	var name string
	var balance, size int64
	_, err = pgx.ForEachRow(rows, []any{&name, &balance, &size}, func() error {
		payee, err := ionet.ParseKey(strings.TrimPrefix(name, feesPrefix))
		if err != nil {
			return err
		}
		amount, err := ionet.NewAmount(uint64(balance))
		f.size, f.due = uint64(size), append(f.due, payment{payee, chain.TokenAccount(payee, s.cfg.Network.Mint), amount})
		return err
	})
	if err != nil {
		return f, fmt.Errorf("load payees of fees: %w", err)
	}
	f.whole = len(f.due) < maxFeeDebts
	return f, nil
}

// feesPrefix begins the names of ledger.OwedFees; the queries have it in themselves,
// because the index that answers them is on those accounts alone.
const feesPrefix = "fees:"

const selectDueFees = `
SELECT b.account, b.balance, (SELECT size FROM log_head) FROM ledger_balances b
WHERE starts_with(b.account, 'fees:') AND b.balance >= $1
  AND NOT EXISTS (SELECT 1 FROM held_payees h WHERE h.owed = 'owed:' || substr(b.account, 6) AND h.retry_at > $3)
ORDER BY b.balance DESC, b.account LIMIT $2`

// notHeld returns the payments to payees that are not held.
func (s *Service) notHeld(ctx context.Context, list []payment, now time.Time) ([]payment, error) {
	payees := make([][]byte, len(list))
	for i := range list {
		payees[i] = list[i].payee[:]
	}
	rows, err := s.pool.Query(ctx, selectHeldNow, now, payees)
	if err != nil {
		return nil, fmt.Errorf("load held payees: %w", err)
	}
	held := map[ionet.Key]bool{}
	var payee []byte
	_, err = pgx.ForEachRow(rows, []any{&payee}, func() error {
		held[ionet.Key(payee)] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load held payees: %w", err)
	}
	return slices.DeleteFunc(slices.Clone(list), func(p payment) bool { return held[p.payee] }), nil
}

const selectHeldNow = `SELECT payee FROM held_payees WHERE retry_at > $1 AND payee = ANY ($2::bytea[])`

// took leaves out what the attempts carry, that are stored now. Where err says that they
// may or may not be, all is looked at again.
func (f *feeDebts) took(live []*attempt, err error) {
	carried := map[ionet.Key]bool{}
	for _, a := range live {
		for _, p := range a.payments {
			carried[p.payee] = carried[p.payee] || a.kind == chain.KindFees
		}
	}
	if err != nil {
		*f = feeDebts{}
	}
	f.due = slices.DeleteFunc(f.due, func(p payment) bool { return carried[p.payee] })
}

// recorded reports whether a published checkpoint covers the receipt log as it was when it
// had that size. Of a log that lacks or contradicts what is published nothing is.
func (s *Service) recorded(ctx context.Context, size uint64) (bool, error) {
	if stand, _, _ := s.receipts.now(); stand != logAgrees && stand != logUnlooked {
		return false, nil
	}
	p, err := s.published(ctx)
	return err == nil && p.Size >= size, err
}

// alternate returns the elements of the lists by turns.
func alternate[T any](lists ...[]T) []T {
	var all []T
	for i, left := 0, true; left; i++ {
		left = false
		for _, list := range lists {
			if i < len(list) {
				all, left = append(all, list[i]), true
			}
		}
	}
	return all
}

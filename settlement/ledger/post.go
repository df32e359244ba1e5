package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
)

// Transfer takes Amount, which is not zero, from Debit and gives it to Credit.
type Transfer struct {
	Debit, Credit Account
	Amount        ionet.Amount
}

// Entry is a set of transfers that happen together. ID names the decision that
// made it, so that the same decision posts once. An entry without transfers is
// one that moved nothing, such as an epoch in which nobody earned.
type Entry struct {
	ID        ionet.Hash
	Kind      string // a word for people
	Transfers []Transfer
}

// ErrConflict reports an id that was posted with another kind or other transfers.
var ErrConflict = errors.New("ledger entry was posted with other transfers")

// Post adds e to the books and reports whether it did: false means that the same
// entry was there already. Where e would overdraw an account the database's
// constraint is the error, and tx is void.
func Post(ctx context.Context, tx pgx.Tx, e Entry, now time.Time) (posted bool, err error) {
	deltas, err := e.deltas()
	if err != nil {
		return false, fmt.Errorf("post %s %s: %w", e.Kind, e.ID, err)
	}
	tag, err := tx.Exec(ctx, insertEntry, e.ID[:], e.Kind, now)
	if err != nil {
		return false, fmt.Errorf("post %s %s: %w", e.Kind, e.ID, err)
	}
	if tag.RowsAffected() == 0 {
		if err := checkSame(ctx, tx, e); err != nil {
			return false, fmt.Errorf("post %s %s: %w", e.Kind, e.ID, err)
		}
		return false, nil
	}
	if err := write(ctx, tx, e, deltas); err != nil {
		return false, fmt.Errorf("post %s %s: %w", e.Kind, e.ID, err)
	}
	return true, nil
}

const insertEntry = `
INSERT INTO ledger_entries (id, kind, created_at) VALUES ($1, $2, $3)
ON CONFLICT (id) DO NOTHING`

const insertTransfers = `
INSERT INTO ledger_transfers (entry, n, debit, credit, amount)
SELECT $1, t.n - 1, t.debit, t.credit, t.amount
FROM unnest($2::text[], $3::text[], $4::bigint[]) WITH ORDINALITY AS t (debit, credit, amount, n)`

// A new account starts at zero: an upsert of the delta itself would be refused
// by the constraints, which look at the proposed row before they see the old one.
const openAccounts = `
INSERT INTO ledger_balances (account, balance)
SELECT t.account, 0 FROM unnest($1::text[]) AS t (account) ORDER BY t.account
ON CONFLICT (account) DO NOTHING`

// Rows are locked by name, so that two posts never wait for each other in a ring.
const lockAccounts = `
SELECT account, balance FROM ledger_balances WHERE account = ANY ($1::text[])
ORDER BY account FOR UPDATE`

const moveBalances = `
UPDATE ledger_balances b SET balance = b.balance + t.delta
FROM unnest($1::text[], $2::bigint[]) AS t (account, delta)
WHERE b.account = t.account`

// write stores the transfers and moves the balances: one round trip.
func write(ctx context.Context, tx pgx.Tx, e Entry, deltas []delta) error {
	if len(e.Transfers) == 0 {
		return nil
	}
	var debits, credits, names []string
	var amounts, moves []int64
	for _, t := range e.Transfers {
		debits, credits, amounts = append(debits, t.Debit.name), append(credits, t.Credit.name), append(amounts, t.Amount.Int64())
	}
	for _, d := range deltas {
		names, moves = append(names, d.account), append(moves, d.amount)
	}
	var b pgx.Batch
	b.Queue(insertTransfers, e.ID[:], debits, credits, amounts)
	b.Queue(openAccounts, names)
	b.Queue(lockAccounts, names)
	b.Queue(moveBalances, names, moves)
	return tx.SendBatch(ctx, &b).Close()
}

// delta is how far an entry moves one account's balance.
type delta struct {
	account string
	amount  int64
}

// deltas sums e's transfers by account, ordered by name; accounts that end where
// they began are left out.
func (e Entry) deltas() ([]delta, error) {
	sums := make(map[string]int64, len(e.Transfers)+1)
	for i, t := range e.Transfers {
		if err := t.check(); err != nil {
			return nil, fmt.Errorf("transfer %d: %w", i, err)
		}
		down, up := sums[t.Debit.name]-t.Amount.Int64(), sums[t.Credit.name]+t.Amount.Int64()
		if down > sums[t.Debit.name] || up < sums[t.Credit.name] {
			return nil, fmt.Errorf("transfer %d: sum of the account: %w", i, ionet.ErrAmountRange)
		}
		sums[t.Debit.name], sums[t.Credit.name] = down, up
	}
	var out []delta
	for account, amount := range sums {
		if amount != 0 {
			out = append(out, delta{account, amount})
		}
	}
	slices.SortFunc(out, func(a, b delta) int { return cmp.Compare(a.account, b.account) })
	return out, nil
}

func (t Transfer) check() error {
	switch {
	case t.Debit.name == "" || t.Credit.name == "":
		return errors.New("an account is missing")
	case t.Debit == t.Credit:
		return fmt.Errorf("debit and credit are both %s", t.Debit)
	case t.Amount.IsZero():
		return fmt.Errorf("amount from %s to %s is zero", t.Debit, t.Credit)
	}
	return nil
}

const selectEntry = `
SELECT e.kind, t.debit, t.credit, t.amount
FROM ledger_entries e LEFT JOIN ledger_transfers t ON t.entry = e.id
WHERE e.id = $1 ORDER BY t.n`

// checkSame compares e with what was posted under its id.
func checkSame(ctx context.Context, tx pgx.Tx, e Entry) error {
	rows, err := tx.Query(ctx, selectEntry, e.ID[:])
	if err != nil {
		return err
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var kind string
		var debit, credit *string
		var amount *int64
		if err := rows.Scan(&kind, &debit, &credit, &amount); err != nil {
			return err
		}
		if kind != e.Kind {
			return fmt.Errorf("%w: as %s", ErrConflict, kind)
		}
		if debit == nil {
			break
		}
		if n >= len(e.Transfers) {
			return fmt.Errorf("%w: more than %d", ErrConflict, n)
		}
		t := e.Transfers[n]
		if t.Debit.name != *debit || t.Credit.name != *credit || t.Amount.Int64() != *amount {
			return fmt.Errorf("%w: transfer %d was %d from %s to %s", ErrConflict, n, *amount, *debit, *credit)
		}
		n++
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if n != len(e.Transfers) {
		return fmt.Errorf("%w: %d of them", ErrConflict, n)
	}
	return nil
}

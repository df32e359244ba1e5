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
	n, err := PostAll(ctx, tx, []Entry{e}, now)
	return n == 1, err
}

// PostAll is Post for several entries, in two round trips however many there are. It
// returns how many of them were not there already.
func PostAll(ctx context.Context, tx pgx.Tx, list []Entry, now time.Time) (posted int, err error) {
	if len(list) == 0 {
		return 0, nil
	}
	if _, err := deltas(list); err != nil {
		return 0, fmt.Errorf("post: %w", err)
	}
	fresh, err := insertAll(ctx, tx, list, now)
	if err != nil {
		return 0, fmt.Errorf("post %s: %w", describe(list), err)
	}
	for _, e := range list {
		if fresh[e.ID] {
			continue
		}
		if err := checkSame(ctx, tx, e); err != nil {
			return 0, fmt.Errorf("post %s %s: %w", e.Kind, e.ID, err)
		}
	}
	list = slices.DeleteFunc(slices.Clone(list), func(e Entry) bool { return !fresh[e.ID] })
	if err := write(ctx, tx, list); err != nil {
		return 0, fmt.Errorf("post %s: %w", describe(list), err)
	}
	return len(list), nil
}

// describe names entries in errors.
func describe(list []Entry) string {
	if len(list) == 1 {
		return fmt.Sprintf("%s %s", list[0].Kind, list[0].ID)
	}
	return fmt.Sprintf("%d entries", len(list))
}

// insertAll stores the entries' rows and returns the ids of those that are new.
func insertAll(ctx context.Context, tx pgx.Tx, list []Entry, now time.Time) (map[ionet.Hash]bool, error) {
	ids, kinds := make([][]byte, len(list)), make([]string, len(list))
	for i, e := range list {
		if slices.ContainsFunc(list[:i], func(o Entry) bool { return o.ID == e.ID }) {
			return nil, fmt.Errorf("entry %s stands twice in one call", e.ID)
		}
		ids[i], kinds[i] = e.ID[:], e.Kind
	}
	rows, err := tx.Query(ctx, insertEntries, ids, kinds, now)
	if err != nil {
		return nil, err
	}
	fresh := make(map[ionet.Hash]bool, len(list))
	var id []byte
	_, err = pgx.ForEachRow(rows, []any{&id}, func() error {
		fresh[ionet.Hash(id)] = true
		return nil
	})
	return fresh, err
}

const insertEntries = `
INSERT INTO ledger_entries (id, kind, created_at)
SELECT t.id, t.kind, $3 FROM unnest($1::bytea[], $2::text[]) AS t (id, kind) ORDER BY t.id
ON CONFLICT (id) DO NOTHING RETURNING id`

const insertTransfers = `
INSERT INTO ledger_transfers (entry, n, debit, credit, amount)
SELECT t.entry, t.n, t.debit, t.credit, t.amount
FROM unnest($1::bytea[], $2::integer[], $3::text[], $4::text[], $5::bigint[]) AS t (entry, n, debit, credit, amount)`

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
func write(ctx context.Context, tx pgx.Tx, list []Entry) error {
	moved, err := deltas(list)
	if err != nil {
		return err
	}
	var entries [][]byte
	var numbers []int32
	var debits, credits, names []string
	var amounts, moves []int64
	for i := range list {
		for n, t := range list[i].Transfers {
			entries, numbers = append(entries, list[i].ID[:]), append(numbers, int32(n))
			debits, credits, amounts = append(debits, t.Debit.name), append(credits, t.Credit.name), append(amounts, t.Amount.Int64())
		}
	}
	if len(entries) == 0 {
		return nil
	}
	for _, d := range moved {
		names, moves = append(names, d.account), append(moves, d.amount)
	}
	var b pgx.Batch
	b.Queue(insertTransfers, entries, numbers, debits, credits, amounts)
	b.Queue(openAccounts, names)
	b.Queue(lockAccounts, names)
	b.Queue(moveBalances, names, moves)
	return tx.SendBatch(ctx, &b).Close()
}

// delta is how far entries move one account's balance.
type delta struct {
	account string
	amount  int64
}

// deltas sums the transfers by account, ordered by name; accounts that end where
// they began are left out.
func deltas(list []Entry) ([]delta, error) {
	sums := map[string]int64{}
	for _, e := range list {
		for i, t := range e.Transfers {
			if err := t.check(); err != nil {
				return nil, fmt.Errorf("%s %s: transfer %d: %w", e.Kind, e.ID, i, err)
			}
			down, up := sums[t.Debit.name]-t.Amount.Int64(), sums[t.Credit.name]+t.Amount.Int64()
			if down > sums[t.Debit.name] || up < sums[t.Credit.name] {
				return nil, fmt.Errorf("%s %s: transfer %d: sum of the account: %w", e.Kind, e.ID, i, ionet.ErrAmountRange)
			}
			sums[t.Debit.name], sums[t.Credit.name] = down, up
		}
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
SELECT e.kind, t.debit, t.credit, t.amount, EXISTS (SELECT FROM ledger_bundles b WHERE b.entry = e.id)
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
		var bundled bool
		if err := rows.Scan(&kind, &debit, &credit, &amount, &bundled); err != nil {
			return err
		}
		switch {
		case kind != e.Kind:
			return fmt.Errorf("%w: as %s", ErrConflict, kind)
		case bundled:
			return fmt.Errorf("%w: as a bundle", ErrConflict)
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

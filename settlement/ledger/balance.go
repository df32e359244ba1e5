package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
)

// Querier reads: a pool outside a transaction, a pgx.Tx inside one.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Balance returns what an account of debts owes (credits less debits) or what a
// vault holds (debits less credits); zero for an account that never moved.
func Balance(ctx context.Context, q Querier, a Account) (ionet.Amount, error) {
	m, err := Balances(ctx, q, a)
	return m[a], err
}

const selectBalances = `SELECT account, balance FROM ledger_balances WHERE account = ANY ($1::text[])`

// Balances is Balance for several accounts; each has its key in the result.
func Balances(ctx context.Context, q Querier, accounts ...Account) (map[Account]ionet.Amount, error) {
	return balances(ctx, q, selectBalances, accounts)
}

// Lock is Balances with the rows locked until tx ends, so that a decision that
// rests on them holds at commit. Accounts that never moved are opened, so that
// they too are locked. Lock every account that tx will move in one call: a later
// one may wait for a transaction that waits for this one.
func Lock(ctx context.Context, tx pgx.Tx, accounts ...Account) (map[Account]ionet.Amount, error) {
	if _, err := tx.Exec(ctx, openAccounts, names(accounts)); err != nil {
		return nil, fmt.Errorf("open accounts: %w", err)
	}
	return balances(ctx, tx, lockAccounts, accounts)
}

func names(accounts []Account) []string {
	out := make([]string, len(accounts))
	for i, a := range accounts {
		out[i] = a.name
	}
	return out
}

func balances(ctx context.Context, q Querier, sql string, accounts []Account) (map[Account]ionet.Amount, error) {
	out := make(map[Account]ionet.Amount, len(accounts))
	for _, a := range accounts {
		out[a] = ionet.Amount{}
	}
	rows, err := q.Query(ctx, sql, names(accounts))
	if err != nil {
		return nil, fmt.Errorf("read balances: %w", err)
	}
	var a Account
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&a.name, &n}, func() (err error) {
		out[a], err = a.amount(n)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read balances: %w", err)
	}
	return out, nil
}

// amount turns the table's signed number into what the account owes or holds.
func (a Account) amount(n int64) (ionet.Amount, error) {
	if a.isVault() {
		n = -n
	}
	if n < 0 {
		return ionet.Amount{}, fmt.Errorf("account %s is overdrawn by %d", a, -n)
	}
	return ionet.NewAmount(uint64(n))
}

// ErrUnbalanced reports books that contradict themselves.
var ErrUnbalanced = errors.New("ledger does not balance")

// The sums are numeric in SQL: sum(bigint) is, so they cannot overflow. A bundle is
// summed by position first: to look up a name in an array takes its length. A position
// that names none shows as an account of that name.
const selectUnbalanced = `
WITH bundled AS (
    SELECT coalesce(a.name, 'position ' || t.position || ' of a bundle') AS account, t.amount
    FROM ledger_bundles b CROSS JOIN LATERAL (
        SELECT u.position, sum(u.amount) AS amount FROM (
            SELECT c.position, c.amount FROM unnest(b.credits, b.amounts) AS c (position, amount)
            UNION ALL
            SELECT d.position, -d.amount FROM unnest(b.debits, b.amounts) AS d (position, amount)
        ) u GROUP BY u.position
    ) t LEFT JOIN LATERAL unnest(b.accounts) WITH ORDINALITY AS a (name, position) ON a.position = t.position
), moved AS (
    SELECT account, sum(amount) AS balance FROM (
        SELECT credit AS account, amount::numeric AS amount FROM ledger_transfers
        UNION ALL
        SELECT debit, -amount::numeric FROM ledger_transfers
        UNION ALL
        SELECT account, amount FROM bundled
    ) t GROUP BY account
)
SELECT coalesce(b.account, m.account), coalesce(b.balance, 0)::text, coalesce(m.balance, 0)::text
FROM ledger_balances b FULL JOIN moved m ON m.account = b.account
WHERE coalesce(b.balance, 0) <> coalesce(m.balance, 0)
UNION ALL
SELECT 'sum of all', coalesce(sum(balance), 0)::text, '0' FROM ledger_balances HAVING coalesce(sum(balance), 0) <> 0
ORDER BY 1 LIMIT 10`

// TrialBalance returns nil where each balance is what its transfers make and all
// balances sum to zero; else ErrUnbalanced with the first accounts that are wrong.
func TrialBalance(ctx context.Context, q Querier) error {
	rows, err := q.Query(ctx, selectUnbalanced)
	if err != nil {
		return fmt.Errorf("take the trial balance: %w", err)
	}
	var wrong []error
	var account, balance, moved string
	_, err = pgx.ForEachRow(rows, []any{&account, &balance, &moved}, func() error {
		wrong = append(wrong, fmt.Errorf("%w: %s is %s, its transfers make %s", ErrUnbalanced, account, balance, moved))
		return nil
	})
	return errors.Join(append(wrong, err)...)
}

package ledger

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
)

// PostBundle is Post for an entry of very many transfers: they are stored in one row,
// by columns, and cost an append-only journal little more than their bytes. What can
// move only by a bundle can't be looked up by its account, so a bundle moves no vault
// and no suspense: those accounts are read by their transfers.
//
// It reports whether it posted; false means that the same bundle was there already.
// Entries and bundles share their ids.
func PostBundle(ctx context.Context, tx pgx.Tx, id ionet.Hash, kind string, transfers []Transfer, now time.Time) (posted bool, err error) {
	p, err := NewBundle(id, kind, transfers)
	if err != nil {
		return false, err
	}
	var b pgx.Batch
	p.Queue(&b, now)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return false, fmt.Errorf("post %s %s: %w", kind, id, err)
	}
	return p.Finish(ctx, tx)
}

// Bundle is an entry that PostBundle posts, for callers that send it in one round trip
// with statements of their own: NewBundle, Queue, the caller's SendBatch, Finish.
type Bundle struct {
	id       ionet.Hash
	kind     string
	accounts []string // in the order of their first use
	debits   []int32  // positions in accounts, from 1
	credits  []int32
	amounts  []int64
	moved    []delta // by name

	posted bool
	done   []string // accounts that moved, where not all that should have did
}

// NewBundle checks the transfers and sums what they move.
func NewBundle(id ionet.Hash, kind string, transfers []Transfer) (*Bundle, error) {
	p := &Bundle{
		id: id, kind: kind, accounts: []string{},
		debits: make([]int32, len(transfers)), credits: make([]int32, len(transfers)), amounts: make([]int64, len(transfers)),
	}
	positions := make(map[string]int32, len(transfers)/2)
	var sums []int64
	position := func(a Account) int32 {
		n, ok := positions[a.name]
		if !ok {
			p.accounts, sums = append(p.accounts, a.name), append(sums, 0)
			n = int32(len(sums))
			positions[a.name] = n
		}
		return n
	}
	for i, t := range transfers {
		if err := checkBundled(t); err != nil {
			return nil, fmt.Errorf("bundle %s %s: transfer %d: %w", kind, id, i, err)
		}
		d, c, n := position(t.Debit), position(t.Credit), t.Amount.Int64()
		p.debits[i], p.credits[i], p.amounts[i] = d, c, n
		down, up := sums[d-1]-n, sums[c-1]+n
		if down > sums[d-1] || up < sums[c-1] {
			return nil, fmt.Errorf("bundle %s %s: transfer %d: sum of the account: %w", kind, id, i, ionet.ErrAmountRange)
		}
		sums[d-1], sums[c-1] = down, up
	}
	for i, sum := range sums {
		if sum != 0 {
			p.moved = append(p.moved, delta{p.accounts[i], sum})
		}
	}
	slices.SortFunc(p.moved, func(a, b delta) int { return cmp.Compare(a.account, b.account) })
	return p, nil
}

func checkBundled(t Transfer) error {
	if err := t.check(); err != nil {
		return err
	}
	for _, a := range [2]Account{t.Debit, t.Credit} {
		if a.isVault() || a == Suspense() {
			return fmt.Errorf("%s moves by entries alone, whose transfers can be looked up", a)
		}
	}
	return nil
}

// Queue adds the bundle's statements to b. Where the database refuses one of them, b
// fails and the transaction is void, as it is with Post.
func (p *Bundle) Queue(b *pgx.Batch, now time.Time) {
	names, moves := split(p.moved)
	if shared := slices.DeleteFunc(slices.Clone(names), isOfLog); len(shared) > 0 {
		b.Queue(lockBalances, shared)
	}
	b.Queue(insertBundle, p.id[:], p.kind, now, p.accounts, p.debits, p.credits, p.amounts, names, moves).QueryRow(func(row pgx.Row) error {
		return row.Scan(&p.posted, &p.done)
	})
}

// isOfLog reports whether only those who append to the receipt log move an account:
// they wait for each other at the log's head, so its row needs no place in the order of
// locks. To take that place costs as much as to move the balance.
func isOfLog(account string) bool {
	return strings.HasPrefix(account, "session:") || strings.HasPrefix(account, "channel:")
}

func split(list []delta) (names []string, moves []int64) {
	names, moves = make([]string, len(list)), make([]int64, len(list))
	for i, d := range list {
		names[i], moves[i] = d.account, d.amount
	}
	return names, moves
}

// Rows are locked by name, so that two posts never wait for each other in a ring.
const lockBalances = `
SELECT count(*) FROM (SELECT FROM ledger_balances WHERE account = ANY ($1::text[]) ORDER BY account FOR UPDATE) AS locked`

// The balances that exist move together with the bundle's row, and only if that is new.
// Most accounts exist: those that do not are told by name, and opened afterwards.
const insertBundle = `
WITH entry AS (
    INSERT INTO ledger_entries (id, kind, created_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING RETURNING id
), bundle AS (
    INSERT INTO ledger_bundles (entry, accounts, debits, credits, amounts)
    SELECT id, $4::text[], $5::integer[], $6::integer[], $7::bigint[] FROM entry
), moved AS (
    UPDATE ledger_balances b SET balance = b.balance + t.delta
    FROM unnest($8::text[], $9::bigint[]) AS t (account, delta), entry
    WHERE b.account = t.account RETURNING b.account
)
SELECT EXISTS (SELECT FROM entry),
    CASE WHEN (SELECT count(*) FROM moved) < cardinality($8::text[]) THEN (SELECT coalesce(array_agg(account), '{}') FROM moved) END`

// Finish ends the posting once the batch was sent: it opens the accounts that never
// moved before, or compares the bundle with the one that was there.
func (p *Bundle) Finish(ctx context.Context, tx pgx.Tx) (posted bool, err error) {
	if !p.posted {
		if err := p.checkSame(ctx, tx); err != nil {
			return false, fmt.Errorf("post %s %s: %w", p.kind, p.id, err)
		}
		return false, nil
	}
	if p.done == nil {
		return true, nil
	}
	moved := make(map[string]bool, len(p.done))
	for _, account := range p.done {
		moved[account] = true
	}
	names, moves := split(slices.DeleteFunc(p.moved, func(d delta) bool { return moved[d.account] }))
	var b pgx.Batch
	b.Queue(openAccounts, names)
	b.Queue(lockBalances, names)
	b.Queue(moveBalances, names, moves)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return false, fmt.Errorf("post %s %s: %w", p.kind, p.id, err)
	}
	return true, nil
}

const selectBundle = `
SELECT e.kind, b.entry IS NOT NULL, coalesce(b.accounts = $2::text[] AND b.debits = $3::integer[] AND b.credits = $4::integer[] AND b.amounts = $5::bigint[], false)
FROM ledger_entries e LEFT JOIN ledger_bundles b ON b.entry = e.id
WHERE e.id = $1`

// checkSame compares the bundle with what was posted under its id.
func (p *Bundle) checkSame(ctx context.Context, tx pgx.Tx) error {
	var kind string
	var bundled, same bool
	err := tx.QueryRow(ctx, selectBundle, p.id[:], p.accounts, p.debits, p.credits, p.amounts).Scan(&kind, &bundled, &same)
	switch {
	case err != nil:
		return err
	case kind != p.kind:
		return fmt.Errorf("%w: as %s", ErrConflict, kind)
	case !bundled:
		return fmt.Errorf("%w: one by one", ErrConflict)
	case !same:
		return ErrConflict
	}
	return nil
}

package settlement

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
)

// resumedCredit is what a person booked to suspense because a vault held so much more at
// a slot than its history explained. At that slot the books were made to say what the
// vault held: a credit that the history tells of later, and that landed until then, is
// part of that amount, and moves from suspense to its renter. One beyond the amount adds
// to the vault as any other, and the reconciler sees that something else is missing.
type resumedCredit struct {
	resumption []byte
	account    ionet.Key
	slot       uint64
	left       uint64
}

// resumedCredits are those of all vaults, each vault's in the order of their slots.
type resumedCredits []resumedCredit

func loadResumed(ctx context.Context, tx pgx.Tx) (resumedCredits, error) {
	rows, err := tx.Query(ctx, selectResumed)
	if err != nil {
		return nil, fmt.Errorf("load what was resumed: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (resumedCredit, error) {
		var r resumedCredit
		var account []byte
		var slot, left int64
		err := row.Scan(&r.resumption, &account, &slot, &left)
		copy(r.account[:], account)
		r.slot, r.left = uint64(slot), uint64(left)
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("load what was resumed: %w", err)
	}
	return list, nil
}

const selectResumed = `SELECT resumption, account, slot, amount - found FROM resumed_credits ORDER BY account, slot, resumption`

// take takes a credit out of what was resumed, and returns how much of it is in suspense
// already. Between two resumptions lies what only the later one can have booked, so the
// first at or above the credit's slot has it.
func (rs resumedCredits) take(ctx context.Context, tx pgx.Tx, c *credit) (uint64, error) {
	for i := range rs {
		r := &rs[i]
		if r.account != c.account || r.slot < c.tx.Slot {
			continue
		}
		n := min(r.left, c.amount)
		if n == 0 {
			return 0, nil
		}
		if _, err := tx.Exec(ctx, takeResumed, r.resumption, r.account[:], int64(n)); err != nil {
			return 0, fmt.Errorf("take a credit of %s out of what was resumed: %w", c.tx.Signature, err)
		}
		r.left -= n
		return n, nil
	}
	return 0, nil
}

const takeResumed = `UPDATE resumed_credits SET found = found + $3 WHERE resumption = $1 AND account = $2`

const insertResumed = `INSERT INTO resumed_credits (resumption, account, slot, amount) VALUES ($1, $2, $3, $4)`

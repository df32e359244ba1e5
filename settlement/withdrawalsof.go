package settlement

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
)

// maxWithdrawalsOf is how many withdrawals of a wallet are shown.
const maxWithdrawalsOf = 24

const selectWithdrawalsOf = `SELECT id FROM withdrawals WHERE renter = $1 ORDER BY created_at DESC, id LIMIT $2`

// WithdrawalsOf returns where a wallet's newest withdrawals stand, the newest first.
func (s *Service) WithdrawalsOf(ctx context.Context, wallet ionet.Key) ([]Withdrawal, error) {
	rows, err := s.front.Query(ctx, selectWithdrawalsOf, wallet[:], maxWithdrawalsOf)
	if err != nil {
		return nil, fmt.Errorf("list withdrawals of %s: %w", wallet, err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		return nil, fmt.Errorf("list withdrawals of %s: %w", wallet, err)
	}
	list := make([]Withdrawal, 0, len(ids))
	for _, id := range ids {
		w, err := s.WithdrawalOf(ctx, [16]byte(id))
		if err != nil {
			return nil, err
		}
		list = append(list, w)
	}
	return list, nil
}

package settlement

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// Payment is one transfer to a payee, by claim or by payout.
type Payment struct {
	Kind      chain.Kind
	Payee     ionet.Key
	Amount    ionet.Amount
	State     PaymentState
	Lane      string
	Position  uint64
	Signature chain.Signature // of the transaction that landed; zeros before
	Slot      uint64
	Created   time.Time
}

const selectPayments = `
SELECT p.kind, p.payee, p.amount, p.state, c.lane, c.position, c.signature, coalesce(c.slot, 0), p.created_at
FROM payments p JOIN contents c ON c.hash = p.content
ORDER BY p.created_at DESC, p.id DESC LIMIT $1`

// Payments returns the newest payments, newest first.
func (s *Service) Payments(ctx context.Context, limit int) ([]Payment, error) {
	rows, err := s.front.Query(ctx, selectPayments, limit)
	if err != nil {
		return nil, fmt.Errorf("load payments: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Payment, error) {
		var p Payment
		var kind int16
		var amount, position, slot int64
		var payee, signature []byte
		if err := row.Scan(&kind, &payee, &amount, &p.State, &p.Lane, &position, &signature, &slot, &p.Created); err != nil {
			return p, err
		}
		p.Kind, p.Position, p.Slot = chain.Kind(kind), uint64(position), uint64(slot)
		copy(p.Payee[:], payee)
		copy(p.Signature[:], signature)
		var err error
		p.Amount, err = ionet.NewAmount(uint64(amount))
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("load payments: %w", err)
	}
	return list, nil
}

package settlement

import (
	"context"
	"fmt"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// PayeeFees is what a payout wallet earned by inferences: Owed + InFlight + Paid in all.
type PayeeFees struct {
	Owed     ionet.Amount // to be paid by payout runs
	InFlight ionet.Amount // carried by signed transactions whose outcome is open
	Paid     ionet.Amount // final on chain
}

const sumFeesPaid = `SELECT coalesce(sum(amount), 0)::bigint FROM payments WHERE payee = $1 AND kind = $2 AND state = 'paid'`

// FeesOf returns a payee's fees.
func (s *Service) FeesOf(ctx context.Context, payee ionet.Key) (PayeeFees, error) {
	balances, err := ledger.Balances(ctx, s.front, ledger.OwedFees(payee), ledger.FeesInFlight(payee))
	if err != nil {
		return PayeeFees{}, err
	}
	f := PayeeFees{Owed: balances[ledger.OwedFees(payee)], InFlight: balances[ledger.FeesInFlight(payee)]}
	var paid int64
	if err := s.front.QueryRow(ctx, sumFeesPaid, payee[:], int16(chain.KindFees)).Scan(&paid); err != nil {
		return PayeeFees{}, fmt.Errorf("sum fees paid to %s: %w", payee, err)
	}
	f.Paid, err = amountOf(paid)
	return f, err
}

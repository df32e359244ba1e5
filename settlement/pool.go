package settlement

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet/chain"
)

// lanePool is the pay lanes that a pass may sign on: those whose open position
// carries no debt and has no live attempt. Withdrawals, unlocks and payouts, those of fees too, share them.
type lanePool struct {
	free        []lane
	lanes       int  // pay lanes of the network
	paying      bool // a payout is on its way on another one
	withdrawing int  // how many carry a withdrawal
}

// take takes a lane out of the pool.
func (p *lanePool) take() (l lane, ok bool) {
	if len(p.free) == 0 {
		return lane{}, false
	}
	l, p.free = p.free[0], p.free[1:]
	return l, true
}

// forWithdrawals returns how many lanes of the pool withdrawals may take: renters decide
// how many there are, so payouts keep half of all pay lanes. Of one lane there is no
// half: then the two take turns (see disburse).
func (p *lanePool) forWithdrawals() int {
	return max(0, min(len(p.free), max(1, p.lanes/2)-p.withdrawing))
}

// payLanes returns the pool of this pass.
func (s *Service) payLanes(ctx context.Context, lanes []lane, live []attempt) (*lanePool, error) {
	debts, err := s.openDebts(ctx)
	if err != nil {
		return nil, err
	}
	taken := map[string]chain.Kind{}
	for _, d := range debts {
		taken[d.lane] = d.content.Kind
	}
	p := &lanePool{}
	for _, l := range lanes {
		if !strings.HasPrefix(l.name, payPrefix) {
			continue
		}
		p.lanes++
		kind, carries := taken[l.name]
		_, alive := liveOn(live, l, anyAttempt)
		switch {
		case kind == chain.KindPayout || kind == chain.KindFees:
			p.paying = true
		case kind == chain.KindWithdrawal:
			p.withdrawing++
		case !carries && !alive:
			p.free = append(p.free, l)
		}
	}
	return p, nil
}

// disburse gives the pool's lanes to withdrawals, unlocks and payouts, in this order. With
// one pay lane a withdrawal that was the last to have it comes last.
func (s *Service) disburse(ctx context.Context, pool *lanePool) error {
	if pool.lanes > 1 || len(pool.free) == 0 {
		return errors.Join(s.withdrawDue(ctx, pool), s.releaseDue(ctx, pool), s.payDue(ctx, pool))
	}
	var last int16
	err := s.pool.QueryRow(ctx, selectLastSigned, append([]int16{int16(chain.KindWithdrawal)}, payoutKinds...)).Scan(&last)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("look whose turn it is on the pay lane: %w", err)
	}
	if chain.Kind(last) != chain.KindWithdrawal {
		return errors.Join(s.withdrawDue(ctx, pool), s.releaseDue(ctx, pool), s.payDue(ctx, pool))
	}
	return errors.Join(s.releaseDue(ctx, pool), s.payDue(ctx, pool), s.withdrawDue(ctx, pool))
}

const selectLastSigned = `SELECT kind FROM payments WHERE kind = ANY ($1::smallint[]) ORDER BY created_at DESC, id DESC LIMIT 1`

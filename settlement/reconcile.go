package settlement

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// reconcile compares the reward vault with the ledger. Both are exact: the
// ledger holds what every final winner did, the vault was read at the slot at
// which those were the winners.
func (s *Service) reconcile(ctx context.Context, final finalView) error {
	held, err := ledger.Balance(ctx, s.pool, ledger.VaultReward())
	if err != nil {
		return err
	}
	switch final.reward.Cmp(held) {
	case -1:
		// Whoever has lost the lease meanwhile reads another leader's books.
		if err := s.asLeader(ctx, func(pgx.Tx, int64) error { return nil }); err != nil {
			return err
		}
		why := fmt.Sprintf("the reward vault %s holds %s base units at slot %d, the ledger says %s: tokens left it that no content of ours moved",
			s.cfg.Network.Vaults.Reward, final.reward, final.slot, held)
		return s.halt(why)
	case 1:
		s.log.Debug("the reward vault holds more than the ledger says: a credit by somebody else", "vault", final.reward.String(), "ledger", held.String())
	}
	return nil
}

// checkOverpaid stops payments where payees got more than they earned: something
// else signs with our keys, or a copy of this database does. The epoch lane goes on.
func (s *Service) checkOverpaid(ctx context.Context) error {
	over, err := ledger.Balance(ctx, s.pool, ledger.Overpaid())
	if err != nil || over.IsZero() {
		s.metrics.halted.Set(0)
		return err
	}
	return s.halt(fmt.Sprintf("payees were paid %s base units more than they earned: the ledger's transfers from %s name the contents that did it", over, ledger.Overpaid()))
}

// halt says why no debt is paid.
func (s *Service) halt(why string) error {
	if s.view.why() != why {
		s.log.Error("sending is halted", "reason", why)
		s.emit(Event{Kind: EventHalted, Detail: why})
	}
	s.metrics.halted.Set(1)
	s.view.set(false, why)
	return fmt.Errorf("%w: %s", ErrHalted, why)
}

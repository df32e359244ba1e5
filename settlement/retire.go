package settlement

import (
	"context"
	"fmt"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
)

// lastEpoch is the last one of the schedule.
func (s *Service) lastEpoch() uint64 { return s.intake.schedule.Epochs() }

// sealedBy returns the last epoch whose seal is final where the epoch lane stands; one
// position beyond the last epoch the lane carries the retire.
func (s *Service) sealedBy(l lane) uint64 { return min(max(l.position, 1)-1, s.lastEpoch()) }

// retireDue gives the mint authority up once the last epoch is sealed. What it carries
// follows from the sealed epochs alone, so that like theirs it never changes position
// and needs no fence.
func (s *Service) retireDue(ctx context.Context, lanes []lane, live []attempt) error {
	l := laneNamed(lanes, epochLane)
	if l.position != s.lastEpoch()+1 {
		return nil
	}
	if _, ok := liveOn(live, l, anyAttempt); ok {
		return nil
	}
	supply, err := s.mintedSupply(ctx)
	if err != nil {
		return fmt.Errorf("retire the mint: %w", err)
	}
	return s.launch(ctx, draft{kind: chain.KindRetire, memo: proofs.RetireMemo{Epoch: s.lastEpoch(), Supply: supply}.String(), lanes: []lane{l}})
}

// mintedSupply is what was ever minted: at genesis and by all epochs.
func (s *Service) mintedSupply(ctx context.Context) (ionet.Amount, error) {
	var sum, sealed int64
	if err := s.pool.QueryRow(ctx, sumSealed).Scan(&sum, &sealed); err != nil {
		return ionet.Amount{}, fmt.Errorf("sum the sealed epochs: %w", err)
	}
	if uint64(sealed) != s.lastEpoch() {
		return ionet.Amount{}, fmt.Errorf("%d epochs are sealed here, the schedule has %d", sealed, s.lastEpoch())
	}
	minted, err := ionet.NewAmount(uint64(sum))
	if err != nil {
		return ionet.Amount{}, err
	}
	return s.cfg.Network.Schedule.Genesis.Add(minted)
}

const sumSealed = `SELECT coalesce(sum(sum), 0)::bigint, count(*) FROM epochs WHERE state = 'sealed'`

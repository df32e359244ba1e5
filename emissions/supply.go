package emissions

import (
	"fmt"

	"github.com/ionet-settlement/ionet"
)

// Supply is what a schedule and its allocation allow by the end of an epoch, in
// base units. What was really minted can be less: an epoch may leave a part of
// its emission unissued for ever.
type Supply struct {
	Epoch       uint64       // 0 is genesis
	Unlocked    ionet.Amount // of the genesis supply
	Locked      ionet.Amount // of the genesis supply; Unlocked + Locked = Genesis
	Emitted     ionet.Amount // by epochs 1..Epoch
	Remaining   ionet.Amount // to be emitted; Emitted + Remaining = Cap - Genesis
	Circulating ionet.Amount // Unlocked + Emitted
}

// SupplyAt returns the supply by the end of epoch k, 0..Epochs. The shares must
// sum to the genesis supply.
func SupplyAt(s *Schedule, shares []Share, k uint64) (Supply, error) {
	at := Supply{Epoch: k}
	var err error
	if at.Emitted, err = s.Cumulative(k); err != nil {
		return Supply{}, err
	}
	var genesis ionet.Amount
	for _, share := range shares {
		if genesis, err = genesis.Add(share.Amount); err != nil {
			return Supply{}, fmt.Errorf("sum of the shares: %w", err)
		}
		if at.Unlocked, err = at.Unlocked.Add(share.Unlock.By(share.Amount, k)); err != nil {
			return Supply{}, fmt.Errorf("sum of what is unlocked: %w", err)
		}
	}
	p := s.params
	if genesis != p.Genesis {
		return Supply{}, fmt.Errorf("shares sum to %s, the genesis supply is %s", genesis, p.Genesis)
	}
	if at.Locked, err = genesis.Sub(at.Unlocked); err != nil {
		return Supply{}, err
	}
	if at.Circulating, err = at.Unlocked.Add(at.Emitted); err != nil {
		return Supply{}, err
	}
	at.Remaining, err = ionet.MustAmount(s.limit).Sub(at.Emitted)
	return at, err
}

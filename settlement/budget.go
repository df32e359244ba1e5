package settlement

import (
	"context"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

// priorityPrice returns what lately sufficed to write to the accounts that the
// drafts write, in micro-lamports per compute unit; 0 where the chain does not tell.
func (s *Service) priorityPrice(ctx context.Context, drafts []draft) uint64 {
	accounts := []ionet.Key{s.cfg.Network.Keys.Operator}
	seen := map[ionet.Key]bool{}
	for _, d := range drafts {
		for _, l := range d.lanes {
			accounts = append(accounts, l.address)
		}
		if len(d.movements) > 0 && !seen[d.movements[0].Source] {
			seen[d.movements[0].Source] = true
			accounts = append(accounts, d.movements[0].Source)
		}
	}
	price, err := s.cfg.Chain.RecentPriorityFee(ctx, accounts)
	if err != nil {
		s.log.Debug("no priority fee is known", "error", err)
		return 0
	}
	return price
}

// priorityLamports is the priority fee of a transaction, at most
// Config.MaxPriorityLamports.
func (s *Service) priorityLamports(price uint64, units uint32) uint64 {
	return min(min(price, 1<<32)*uint64(units)/1_000_000, s.cfg.MaxPriorityLamports)
}

// page is the unit in which loaded account data is charged.
const page = 32 << 10

// withLimits returns the message of p with limits that its simulation suggests:
// what it used and a quarter more, loaded data in whole pages.
func (s *Service) withLimits(p chain.Plan, used rpc.Simulation, price uint64) ([]byte, error) {
	p.Budget.ComputeUnits = uint32(min(used.Units+used.Units/4+1_000, 1_400_000))
	if used.Loaded > 0 {
		p.Budget.LoadedBytes = uint32(min((used.Loaded+used.Loaded/4+page)/page*page, 64<<20))
	}
	p.Budget.PriorityLamports = s.priorityLamports(price, p.Budget.ComputeUnits)
	return p.Message()
}

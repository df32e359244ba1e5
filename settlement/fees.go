package settlement

import (
	"context"
	"time"

	"github.com/ionet-settlement/ionet/chain/rpc"
)

// lookEvery is how often a pass looks at what the chain is reached and paid with.
const lookEvery = time.Minute

// fewLamports is when the operator is warned: the base fees of a thousand payouts.
const fewLamports = 10_000_000

// Endpoints returns the health of the RPC endpoints as this service's calls have shown it.
func (s *Service) Endpoints() []rpc.EndpointHealth { return s.cfg.Chain.Health() }

// lookAround measures the endpoints, and what the fee payer has left. It decides
// nothing: without lamports transactions are refused, which passes tell by themselves.
func (s *Service) lookAround(ctx context.Context) {
	now := s.now()
	if now.Before(s.looked.Add(lookEvery)) {
		return
	}
	s.looked = now
	for _, e := range s.Endpoints() {
		behind := 0.0
		if e.Behind {
			behind = 1
		}
		for what, value := range map[string]float64{
			"calls": float64(e.Calls), "failed": float64(e.Failed), "in_row": float64(e.InRow), "seconds": e.Latency.Seconds(), "slot": float64(e.Slot), "behind": behind,
		} {
			s.metrics.endpoints.WithLabelValues(e.Host, what).Set(value)
		}
	}
	operator := s.cfg.Network.Keys.Operator
	lamports, err := s.cfg.Chain.Lamports(ctx, operator, rpc.Confirmed)
	if err != nil {
		s.log.Debug("the fee payer's lamports are not known", "error", err)
		return
	}
	s.metrics.lamports.Set(float64(lamports))
	if lamports < fewLamports {
		s.log.Warn("the operator runs out of lamports: send some to it", "operator", operator.String(), "lamports", lamports)
	}
}

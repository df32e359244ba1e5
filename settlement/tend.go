package settlement

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// tend buries the attempts that can never land and sends the others again; it
// returns those that live.
func (s *Service) tend(ctx context.Context) ([]attempt, error) {
	if err := s.sweepClaims(ctx); err != nil {
		return nil, err
	}
	all, err := s.liveAttempts(ctx)
	if err != nil || len(all) == 0 {
		s.metrics.attempts.Set(0)
		return nil, err
	}
	head, err := s.cfg.Chain.FinalizedHead(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the finalized height: %w", err)
	}
	// Claims come last: outsiders decide how many there are.
	slices.SortStableFunc(all, func(a, b attempt) int { return cmp.Compare(claimRank(a), claimRank(b)) })
	now := s.now()
	var open, due []*attempt
	sentAt := map[ionet.Hash]time.Time{}
	for i := range all {
		a := &all[i]
		if head.BlockHeight > a.blockhash.LastValidHeight {
			dead, err := s.isDead(ctx, *a)
			if err != nil {
				// Not known is not dead: the others are tended all the same.
				s.log.Warn("dead rule could not be applied", "error", err)
			}
			if dead {
				if err := s.bury(ctx, *a); err != nil {
					return nil, err
				}
				continue
			}
		} else if a.isOffer() {
			// Its wallet alone can send it.
		} else if last := s.sentAt[a.message]; last.IsZero() || now.Sub(last) >= s.cfg.ResendEvery {
			due = append(due, a)
			sentAt[a.message] = now
		} else {
			sentAt[a.message] = last
		}
		open = append(open, a)
	}
	s.sentAt = sentAt
	claims := slices.IndexFunc(due, func(a *attempt) bool { return a.kind == chain.KindClaim })
	if claims < 0 {
		claims = len(due)
	}
	if err := errors.Join(s.sendAll(ctx, due[:claims]), s.sendAll(ctx, due[claims:])); err != nil {
		return nil, err
	}
	live := make([]attempt, len(open))
	for i, a := range open {
		live[i] = *a
	}
	s.metrics.attempts.Set(float64(len(live)))
	return live, nil
}

func claimRank(a attempt) int {
	if a.kind == chain.KindClaim {
		return 1
	}
	return 0
}

// liveOn returns the oldest live attempt on l's open position that wanted takes.
func liveOn(live []attempt, l lane, wanted func(attempt, step) bool) (attempt, bool) {
	for _, a := range live {
		for _, st := range a.steps {
			if st.lane.name == l.name && st.lane.position == l.position && wanted(a, st) {
				return a, true
			}
		}
	}
	return attempt{}, false
}

func anyAttempt(attempt, step) bool { return true }

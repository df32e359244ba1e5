package settlement

import (
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
		s.metrics.offers.Set(0)
		return nil, err
	}
	head, err := s.cfg.Chain.FinalizedHead(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the finalized height: %w", err)
	}
	var open, expired []*attempt
	for i := range all {
		if a := &all[i]; head.BlockHeight > a.blockhash.LastValidHeight {
			expired = append(expired, a)
		} else {
			open = append(open, a)
		}
	}
	alive, err := s.buryDead(ctx, expired)
	if err != nil {
		return nil, err
	}
	if err := s.resend(ctx, open); err != nil {
		return nil, err
	}
	open = append(open, alive...)
	slices.SortStableFunc(open, func(a, b *attempt) int { return a.created.Compare(b.created) })
	live := make([]attempt, len(open))
	for i, a := range open {
		live[i] = *a
	}
	s.metrics.attempts.Set(float64(len(live)))
	return live, nil
}

// maxClaimsSent is how many claims a pass sends again, in turn: each was sent when it
// was handed in, and outsiders decide how many there are.
const maxClaimsSent = 32

// resend sends those again that were not sent lately. What we pay for goes first, then
// the claims that have waited longest.
func (s *Service) resend(ctx context.Context, open []*attempt) error {
	now := s.now()
	sentAt := make(map[ionet.Hash]time.Time, len(open))
	var ours, claims []*attempt
	offers := 0
	for _, a := range open {
		last := s.sentAt[a.message]
		sentAt[a.message] = last
		switch {
		case a.isOffer(): // its wallet alone can send it
			offers++
		case !last.IsZero() && now.Sub(last) < s.cfg.ResendEvery:
		case a.kind == chain.KindClaim:
			claims = append(claims, a)
		default:
			ours = append(ours, a)
		}
	}
	slices.SortStableFunc(claims, func(a, b *attempt) int { return sentAt[a.message].Compare(sentAt[b.message]) })
	claims = claims[:min(len(claims), maxClaimsSent)]
	for _, a := range slices.Concat(ours, claims) {
		sentAt[a.message] = now
	}
	s.sentAt = sentAt
	s.metrics.offers.Set(float64(offers))
	return errors.Join(s.sendAll(ctx, ours), s.sendAll(ctx, claims))
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

package settlement

import (
	"context"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// PolicyState says what became of a policy.
type PolicyState string

// The states of a policy.
const (
	PolicyAnnounced  PolicyState = "announced"  // no final seal has it yet
	PolicyCounts     PolicyState = "counts"     // it was sealed before its first epoch, which is to come
	PolicyInForce    PolicyState = "in force"   // in the current epoch
	PolicySuperseded PolicyState = "superseded" // it counts, and one with a higher version rules in its place
	PolicyMissed     PolicyState = "missed"     // it was not sealed in time, and never counts
)

// PolicyStatus is a policy that was announced, or that of the genesis.
type PolicyStatus struct {
	proofs.PolicyChange
	Statement ionet.Hash // zero for the genesis
	Announced uint64     // epoch of its arrival; 0 for the genesis
	Sealed    uint64     // epoch whose final book has it, 0 for none and for the genesis
	State     PolicyState
}

// Policies returns the genesis policy and all that were announced since, in that order.
func (s *Service) Policies(ctx context.Context) ([]PolicyStatus, error) {
	next, list, err := readOpenPolicies(ctx, s.front)
	if err != nil {
		return nil, err
	}
	now := s.currentEpoch()
	// What rules from c's first epoch on, or now where that is past, is c or follows it.
	stateOf := func(c proofs.PolicyChange) PolicyState {
		switch {
		case s.inForce(list, max(now, c.FirstEpoch)) != c:
			return PolicySuperseded
		case c.FirstEpoch > now:
			return PolicyCounts
		}
		return PolicyInForce
	}
	out := []PolicyStatus{{PolicyChange: s.genesisPolicy(), State: stateOf(s.genesisPolicy())}}
	for i, r := range list {
		state := PolicyMissed
		switch {
		case s.counts(list[:i+1]):
			state = stateOf(r.PolicyChange)
		case r.isOpen(next):
			state = PolicyAnnounced
		}
		out = append(out, PolicyStatus{PolicyChange: r.PolicyChange, Statement: r.id, Announced: r.arrival, Sealed: r.epoch, State: state})
	}
	return out, nil
}

// counts reports whether the last policy of list counts, after the others.
func (s *Service) counts(list []policyRow) bool {
	last := list[len(list)-1]
	return last.epoch > 0 && s.inForce(list, last.FirstEpoch) == last.PolicyChange
}

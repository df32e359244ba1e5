package proofs

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/ionet-settlement/ionet"
)

// PolicyChange announces a policy: the service signs it, and the book of the
// epoch in which it arrived seals it.
type PolicyChange struct {
	Version    uint32     // of the file, above that of every policy before it
	FirstEpoch uint64     // first epoch that it rules
	Policy     ionet.Hash // of the file's exact bytes
}

// Encode returns the body of a policy change.
func (p PolicyChange) Encode() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("encode policy change: %w", err)
	}
	var w writer
	w.u32(p.Version)
	w.u64(p.FirstEpoch)
	w.raw(p.Policy[:])
	return w.b, nil
}

// ParsePolicyChange parses the body of a policy change.
func ParsePolicyChange(body []byte) (PolicyChange, error) {
	r := reader{b: body}
	p := PolicyChange{Version: r.u32(), FirstEpoch: r.u64(), Policy: r.b32()}
	return ended(&r, "policy change", p, p.check)
}

func (p PolicyChange) check() error {
	switch {
	case p.Version == 0:
		return errors.New("version is 0")
	case p.FirstEpoch == 0 || p.FirstEpoch > maxEpoch:
		return fmt.Errorf("first_epoch is %d, not in 1..%d", p.FirstEpoch, uint64(maxEpoch))
	case p.Policy.IsZero():
		return errors.New("policy is zero")
	}
	return nil
}

// SealedPolicy is a policy change that an epoch's book sealed.
type SealedPolicy struct {
	PolicyChange
	Epoch    uint64 // whose book has it
	SealedAt int64  // block time of the transaction that sealed that epoch, Unix seconds
}

// PolicyChanges returns the policy changes among the inputs, by version, then by
// id. It takes signatures for checked.
func (in *Inputs) PolicyChanges() ([]PolicyChange, error) {
	type change struct {
		PolicyChange
		id ionet.Hash
	}
	var list []change
	for i := range in.Statements {
		e := &in.Statements[i].Envelope
		if e.Kind != KindPolicy {
			continue
		}
		p, err := ParsePolicyChange(e.Body)
		if err != nil {
			return nil, err
		}
		list = append(list, change{p, e.ID()})
	}
	slices.SortFunc(list, func(a, b change) int {
		return cmp.Or(cmp.Compare(a.Version, b.Version), bytes.Compare(a.id[:], b.id[:]))
	})
	changes := make([]PolicyChange, len(list))
	for i, c := range list {
		changes[i] = c.PolicyChange
	}
	return changes, nil
}

// PolicyInForce returns the policy that rules epoch k: FORMAT.md, section 6,
// "Policy in force". The changes are all that the books before k have, in the
// order of the books and within one in that of PolicyChanges; genesis is the
// network file's.
func PolicyInForce(genesis PolicyChange, changes []SealedPolicy, clock ionet.Clock, k uint64) PolicyChange {
	inForce, newest := genesis, genesis.Version
	for _, c := range changes {
		if c.Version <= newest {
			continue // whatever it says, a later policy was announced before it
		}
		newest = c.Version
		if c.InTime(clock) && c.FirstEpoch <= k {
			inForce = c.PolicyChange
		}
	}
	return inForce
}

// InTime reports whether the change was sealed before its first epoch began.
// One that was not never counts.
func (p SealedPolicy) InTime(clock ionet.Clock) bool {
	return p.SealedAt < clock.EpochStart(p.FirstEpoch)
}
